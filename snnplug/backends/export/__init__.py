"""How a trained network leaves for other tools: graphs of torch, ONNX, OpenVINO, NIR, SANA-FE."""

from snnplug.backends.export.nir_graph import NIRResetWarning, to_nir, write_nir
from snnplug.backends.export.nir_network import from_nir, read_nir
from snnplug.backends.export.onnx_file import write_onnx
from snnplug.backends.export.openvino_files import write_openvino
from snnplug.backends.export.program import to_program, write_program
from snnplug.backends.export.sana_fe import write_sana_fe

__all__ = [
    "NIRResetWarning",
    "from_nir",
    "read_nir",
    "to_nir",
    "to_program",
    "write_nir",
    "write_onnx",
    "write_openvino",
    "write_program",
    "write_sana_fe",
]
