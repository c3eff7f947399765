"""Tests of the CPU kernels."""

from pathlib import Path

import pytest

from blocks.kernels import build

needs_kernels = pytest.mark.skipif(build.library() is None, reason="the kernels can't be built on this machine")

# An operation by TensorFlow's C interface, whose headers compile in a second.
OPERATION = """
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"

#include "../compute/numbers.h"

static void* create(TF_OpKernelConstruction*) { return nullptr; }
static void destroy(void*) {}
static void compute(void*, TF_OpKernelContext* context) {
  TF_Status* status = TF_NewStatus();
  TF_Tensor* output = TF_AllocateOutput(context, 0, TF_INT32, nullptr, 0, sizeof(int), status);
  *static_cast<int*>(TF_TensorData(output)) = tens() + ones();
  TF_DeleteTensor(output);
  TF_DeleteStatus(status);
}
static const bool registered = [] {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* operation = TF_NewOpDefinitionBuilder(NAME);
  TF_OpDefinitionBuilderAddOutput(operation, "number: int32");
  TF_RegisterOpDefinition(operation, status);
  TF_RegisterKernelBuilder(NAME, TF_NewKernelBuilder(NAME, "CPU", &create, &compute, &destroy), status);
  TF_DeleteStatus(status);
  return true;
}();
"""
SMALL = {
    "tensorflow/numbers.cc": OPERATION,
    "compute/numbers.h": '#define NAME "NumberBefore"\nint tens();\nint ones();\n',
    "dispatch/levels.cc": 'extern "C" const char* blocks_choose_level(const char*) { return "native"; }\n',
    "compute/numbers.cc": '#include "numbers.h"\nint tens() { return 40; }\n',
    "compute/deeper/numbers.cc": '#include "../numbers.h"\nint ones() { return 2; }\n',
}


def write_sources(folder: Path, texts: dict[str, str]) -> None:
    """Files of these names and texts below `folder`."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
