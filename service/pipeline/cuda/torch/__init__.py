"""The real driver: the only room that imports torch, torchvision, PyNvVideoCodec or the kernels."""
