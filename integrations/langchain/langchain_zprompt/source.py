"""Declare which codec a component uses; it is loaded when it is first needed, and shared within the process."""

from pydantic import BaseModel, ConfigDict

from zprompt import Codec
from zprompt.rag import CodecSource


class CodecFields(BaseModel):
    """The fields that name a codec. They are plain values, so components pickle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: str = "default"  # a shipped codec, or the folder of one
    backbone: str | None = None  # if it lies elsewhere than the codec says
    device: str = "auto"
    quantization: str = "auto"

    def load(self) -> Codec:
        """Load the codec, unless this process has it.

        :return: The codec.
        """
        return CodecSource(self.codec, self.backbone, self.device, self.quantization).load()

    @property
    def fingerprint(self) -> str:
        """Name the codec as its Z-spans do; this loads it.

        :return: 12 hexadecimal digits.
        """
        return self.load().fingerprint
