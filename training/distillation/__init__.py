"""Learning from a teacher: another detector's opinion of the pictures as they are trained on."""
