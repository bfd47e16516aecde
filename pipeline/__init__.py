"""What happens to a video, step by step."""
