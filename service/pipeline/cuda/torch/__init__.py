"""The real driver: the only package that imports torch, torchvision, PyNvVideoCodec or the kernels."""
