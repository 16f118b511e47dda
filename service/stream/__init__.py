"""HLS from cached segments: playlists and fragments as pure functions, without a codec."""
