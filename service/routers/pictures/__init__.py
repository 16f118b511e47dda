"""Pictures on demand: frames, previews of what a render would show, frames of videos, sheets of thumbnails."""
