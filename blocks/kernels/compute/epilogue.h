// What follows the sums of a convolution before they are written.
#pragma once

#include "kernels.h"

namespace blocks {

// y = activation(sum + bias + residual). The bias and the residual, of the outputs' shape, may be null.
template <class T>
struct Epilogue {
  const float* bias;
  const T* residual;
  Activation activation;

  // Of what lies `entries` further on in the outputs, in the same channels.
  Epilogue shifted(int64_t entries) const { return {bias, residual ? residual + entries : nullptr, activation}; }
};

}  // namespace blocks
