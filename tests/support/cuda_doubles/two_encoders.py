"""A device whose encoder can only be opened twice."""

from service.pipeline.cuda.driver import CudaDriver, EncoderSettings
from service.pipeline.cuda.errors import CudaUnsupported
from tests.support.cuda_doubles.driver import DriverDouble, SoftwareEncoder


class TwoEncoderDriver(DriverDouble):
    opened = 0

    def open_encoder(self, settings: EncoderSettings) -> SoftwareEncoder:
        self.opened += 1
        if self.opened > 2:
            raise CudaUnsupported("no NVENC session for h264")
        return super().open_encoder(settings)


def open_driver(device: str) -> CudaDriver:
    return TwoEncoderDriver(device)
