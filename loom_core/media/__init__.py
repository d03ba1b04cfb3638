"""Reading and writing clips, images and sound."""
