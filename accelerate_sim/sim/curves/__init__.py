"""Loss, gradient norm and learning rate as functions of the step."""
