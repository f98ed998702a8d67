"""What the command line says, and what it means for a job."""
