"""What a trained model sees in images, as pictures and as files."""
