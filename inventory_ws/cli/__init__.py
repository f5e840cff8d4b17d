"""The program around the application."""
