// Which rows and columns meet in a spatial convolution or in the gradient of its inputs, and the weights in that order.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "simd.h"

namespace blocks {

// One convolution over rows of `source` images, of which every output is a sum of consecutive columns.
// The gradient of a strided convolution is one for each remainder of the column: a phase.
struct Phase {
  int first, step;  // of the columns of the outputs
  int count;  // of outputs in a row
  int shift;  // the column of the first tap of the first output
  std::vector<int> taps;  // columns of the kernel, in the order of the source's columns
};

struct Plan {
  int height, width, channels;  // of the sources
  int out_height, out_width, out_channels;
  int stride;  // columns of the source between neighbouring outputs
  int depth;  // source channels of a group
  int lanes_channels;  // output channels of a group
  bool transposed;
  std::vector<Phase> phases;
  int before;  // zeros in front of a staged row
};

inline int down(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// The row of the source that row `ky` of the kernel meets for output row y; -1 where there is none.
inline int source_row(const Spatial& s, bool transposed, int y, int ky) {
  if (!transposed) {
    const int row = y * s.stride_height + ky - s.top;
    return row < s.height ? row : -1;  // or below zero
  }
  const int above = y + s.top - ky;
  if (above < 0 || above % s.stride_height) return -1;
  return above / s.stride_height < s.out_height ? above / s.stride_height : -1;
}

// First and last row of the source that output rows [top, bottom) meet.
inline std::pair<int, int> source_rows(const Spatial& s, const Plan& plan, int top, int bottom) {
  if (!plan.transposed)
    return {std::max(0, top * s.stride_height - s.top),
            std::min(s.height - 1, (bottom - 1) * s.stride_height + s.kernel_height - 1 - s.top)};
  return {std::max(0, down(top + s.top - s.kernel_height + 1, s.stride_height)),
          std::min(s.out_height - 1, down(bottom - 1 + s.top, s.stride_height))};
}

// How many rows of the source `count` neighbouring output rows meet at most.
inline int rows_met(const Spatial& s, bool transposed, int count) {
  if (!transposed) return (count - 1) * s.stride_height + s.kernel_height;
  return (count + s.kernel_height - 2 + s.stride_height - 1) / s.stride_height + 1;
}

inline Plan plan_of(const Spatial& s, bool transposed) {
  Plan plan;
  plan.transposed = transposed;
  if (!transposed) {
    plan = {s.height,       s.width,  s.groups * s.inputs, s.out_height, s.out_width, s.groups * s.outputs,
            s.stride_width, s.inputs, s.outputs,           false,        {},          0};
    Phase phase{0, 1, s.out_width, -s.left, {}};
    for (int kx = 0; kx < s.kernel_width; ++kx) phase.taps.push_back(kx);
    plan.phases.push_back(phase);
  } else {
    plan = {s.out_height,
            s.out_width,
            s.groups * s.outputs,
            s.height,
            s.width,
            s.groups * s.inputs,
            1,
            s.outputs,
            s.inputs,
            true,
            {},
            0};
    for (int first = 0; first < std::min(s.stride_width, s.width); ++first) {
      Phase phase{first, s.stride_width, (s.width - first + s.stride_width - 1) / s.stride_width, 0, {}};
      for (int kx = s.kernel_width - 1; kx >= 0; --kx) {
        const int ahead = first + s.left - kx;
        if (ahead - down(ahead, s.stride_width) * s.stride_width) continue;
        if (phase.taps.empty()) phase.shift = down(ahead, s.stride_width);
        phase.taps.push_back(kx);
      }
      plan.phases.push_back(phase);
    }
  }
  for (const auto& phase : plan.phases) plan.before = std::max(plan.before, -phase.shift);
  return plan;
}

// Weights of `count` vectors of outputs, `second` channels apart: for each phase and row of the kernel
// [depth][taps][count][kLanes].
inline void pack_weights(const Spatial& s, const Plan& plan, const float* kernel, int channel, int second, int count,
                         int lanes, float* to) {
  const int64_t row = int64_t(s.groups) * s.outputs, tap = row * s.inputs;  // floats of the kernel
  std::vector<int64_t> places(count * kLanes);  // transposed: where the weights of each input channel begin
  for (int v = 0; v < count; ++v)
    for (int lane = 0; lane < kLanes; ++lane) {
      const int c = channel + v * second + std::min(lane, lanes - 1);
      places[v * kLanes + lane] = c % s.inputs * row + c / s.inputs * s.outputs;
    }
  for (const auto& phase : plan.phases)
    for (int ky = 0; ky < s.kernel_height; ++ky)
      for (int c = 0; c < plan.depth; ++c)
        for (int kx : phase.taps) {
          const float* from = kernel + (int64_t(ky) * s.kernel_width + kx) * tap;
          for (int v = 0; v < count; ++v, to += kLanes) {
            if (!plan.transposed) store(to, load_some(from + c * row + channel + v * second, lanes));
            else
              for (int lane = 0; lane < kLanes; ++lane) to[lane] = from[places[v * kLanes + lane] + c];
          }
        }
}

}  // namespace blocks
