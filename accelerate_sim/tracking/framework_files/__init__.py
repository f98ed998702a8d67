"""Files that a framework writes beside its log; a voice's entry in ``VOICES`` names the tracker that writes them."""
