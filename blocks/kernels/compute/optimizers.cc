// The arithmetic of optimizers: one pass over gradient, weights and the optimizer's state. Compilers vectorise these
// loops.
#include <cmath>
#include <cstring>

#include "kernels.h"

namespace blocks {

bool all_finite(const float* x, int64_t count) {
  uint32_t infinite = 0;  // in all lanes: a loop that stops early is not vectorised
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    infinite |= (bits & 0x7f800000u) == 0x7f800000u;
  }
  return !infinite;
}

void adam(const Adam& a, const float* __restrict gradient, float* __restrict weights, float* __restrict first,
          float* __restrict second, int64_t count) {
  const float share_1 = 1 - a.beta_1, share_2 = 1 - a.beta_2;
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i];
    const float m = first[i] + (g - first[i]) * share_1, v = second[i] + (g * g - second[i]) * share_2;
    first[i] = m;
    second[i] = v;
    weights[i] = weights[i] - weights[i] * a.decay - m * a.rate / (std::sqrt(v) + a.epsilon);
  }
}

void descend(const Momentum& m, const float* __restrict gradient, float* __restrict weights,
             float* __restrict accumulator, int64_t count) {
  // One formula for both: what is added to the accumulator is the step, or the gradient, and the other factor is 1.
  const float step = m.rate_in_momentum ? -m.rate : 1.0f, scale = m.rate_in_momentum ? 1.0f : -m.rate;
  for (int64_t i = 0; i < count; ++i) {
    const float w = weights[i] - weights[i] * m.decay, g = (gradient[i] + weights[i] * m.coupled_decay) * step;
    const float sum = accumulator[i] * m.momentum + g;
    accumulator[i] = sum;
    weights[i] = w + (m.nesterov ? sum * m.momentum + g : sum) * scale;
  }
}

void move_average(const float* __restrict value, float share, float* __restrict average, int64_t count) {
  for (int64_t i = 0; i < count; ++i) average[i] += (value[i] - average[i]) * share;
}

}  // namespace blocks
