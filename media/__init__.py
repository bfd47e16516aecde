"""Running ffmpeg and ffprobe. The only package that starts a media process."""
