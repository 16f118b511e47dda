"""Decode, transform and encode on an NVIDIA GPU; torch, torchvision and PyNvVideoCodec are imported only in here."""
