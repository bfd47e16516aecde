"""Posters and storyboards. Paths and URLs in, paths out."""
