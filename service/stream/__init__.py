"""HLS from cached segments: playlists and fragments as pure functions over numbers and bytes, without any codec."""
