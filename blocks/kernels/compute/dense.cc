// Spatial convolution, and the gradient of its inputs, as one matrix product a group.
//
// What an output reads of one row of the inputs is contiguous there, and what its right neighbour reads begins a stride
// further on. So a tile of neighbouring outputs sums up one segment for each row of the kernel, read in place from
// rows that were copied with the padding's zeros beside them.
#include <algorithm>
#include <vector>

#include "row_blocks.h"
#include "rows.h"

namespace blocks {
namespace {

// Outputs, of which neighbours lie some entries apart: in another image, in the next row, at the next position.
template <class T>
struct Outputs {
  T* y;
  int64_t image, row, position;
};

template <class T>
void convolve(const Spatial& s, const T* x, const float* kernel, const Epilogue<T>& epilogue, const Outputs<T>& outputs,
              const Parallel& parallel) {
  using F = Factor<T>;
  // If a row of the kernel is no whole steps, the last of them would multiply what the next output sees.
  const RowBlocks blocks(s, parallel.threads, s.kernel_width * s.in_channels_per_group % kStepFactors<F> != 0);
  const int channels = s.out_channels_per_group, count = num_panels(channels);
  const int64_t row_steps = num_steps<F>(blocks.row_depth);
  const int64_t panel_size = s.kernel_height * row_steps * kTileColumns;  // words
  float* packed = scratch(kShared, s.groups * count * panel_size);
  const int64_t kernel_row = int64_t(s.groups) * channels;
  parallel.run(s.groups * count, [&](int64_t panel) {
    const float* from = kernel + panel / count * channels;
    for (int ky = 0; ky < s.kernel_height; ++ky, from += blocks.row_depth * kernel_row)
      pack<F>(from, blocks.row_depth, channels, kernel_row, 1, int(panel % count) * kTileColumns,
              packed + panel * panel_size + ky * row_steps * kTileColumns);
  });
  const auto run = [&](const RowBlock<F>& block, int group, int panel, int row, std::vector<GemmSegment<F>>& segments) {
    const float* weights = packed + (int64_t(group) * count + panel) * panel_size;
    segments.clear();
    for (int ky = 0; ky < s.kernel_height; ++ky, weights += row_steps * kTileColumns)
      if (const F* inputs = block.input_row(row, ky)) segments.push_back({inputs, weights, row_steps});
    const int64_t start = block.image * outputs.image + row * outputs.row;
    const int first = group * channels + panel * kTileColumns;
    const GemmArgs<F> args{segments.data(), int(segments.size()), blocks.step, kStepFactors<F>, kTileColumns};
    rows_of_panel<T>(args, std::min(kTileColumns, channels - panel * kTileColumns), outputs.y + start + first,
                     outputs.position, s.out_width, epilogue.shifted(start), first);
  };
  parallel.run(blocks.count, [&](int64_t number) {
    F* copied = factors_scratch<F>(0, RowBlock<F>::entries(s, blocks));
    std::vector<GemmSegment<F>> segments;
    for (int group = 0; group < s.groups; ++group) {
      const RowBlock<F> block(s, blocks, x, number, group, copied);
      for (int panel = 0; panel < count; ++panel)
        for (int row = block.top; row < block.bottom; ++row) run(block, group, panel, row, segments);
    }
  });
}

// Along one axis, the inputs at first, first + stride and so on: what their gradients are a convolution of, unstrided.
// With taps t = 0, 1 ..., input first + i * stride receives the sum of dy[i + t - pad] * kernel[last - t * stride].
struct Phase {
  int count;  // inputs
  int taps, last, pad;

  Phase(int first, int size, int stride, int kernel, int padding) : count((size - first + stride - 1) / stride) {
    const int tap = (first + padding) % stride;  // the first one that reaches these inputs
    taps = tap < kernel ? (kernel - tap + stride - 1) / stride : 0;
    last = tap + (taps - 1) * stride;
    pad = taps - 1 - (first + padding - tap) / stride;
  }
};

// The kernel of a phase: its taps in reverse order, inputs and outputs exchanged.
std::vector<float> phase_kernel(const Spatial& s, const Phase& rows, const Phase& columns, const float* kernel,
                                const Parallel& parallel) {
  const int64_t inputs = s.in_channels_per_group, outputs = s.out_channels_per_group;
  std::vector<float> taken(rows.taps * columns.taps * inputs * outputs * s.groups);
  parallel.run(int64_t(rows.taps) * columns.taps, [&](int64_t tap) {
    const int64_t y = rows.last - tap / columns.taps * s.stride_height;
    const int64_t x = columns.last - tap % columns.taps * s.stride_width;
    const float* from = kernel + (y * s.kernel_width + x) * inputs * outputs * s.groups;
    float* to = taken.data() + tap * inputs * outputs * s.groups;
    for (int64_t o = 0; o < outputs; ++o)
      for (int64_t group = 0; group < s.groups; ++group)
        for (int64_t i = 0; i < inputs; ++i) *to++ = from[(i * s.groups + group) * outputs + o];
  });
  return taken;
}

}  // namespace

template <class T>
void dense(const Spatial& s, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
           Activation activation, const Parallel& parallel) {
  const int64_t channels = int64_t(s.groups) * s.out_channels_per_group, row = s.out_width * channels;
  convolve<T>(s, x, kernel, {bias, residual, activation}, {y, s.out_height * row, row, channels}, parallel);
}

template <class T>
void dense_input_gradient(const Spatial& s, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  const int64_t channels = int64_t(s.groups) * s.in_channels_per_group, row = s.width * channels;
  for (int y = 0; y < std::min(s.stride_height, s.height); ++y)
    for (int x = 0; x < std::min(s.stride_width, s.width); ++x) {
      const Phase rows(y, s.height, s.stride_height, s.kernel_height, s.pad_top);
      const Phase columns(x, s.width, s.stride_width, s.kernel_width, s.pad_left);
      const Spatial phase = {s.batch,
                             s.out_height,
                             s.out_width,
                             s.groups,
                             s.out_channels_per_group,
                             s.in_channels_per_group,
                             rows.taps,
                             columns.taps,
                             1,
                             1,
                             rows.pad,
                             columns.pad,
                             rows.count,
                             columns.count};
      const std::vector<float> weights = phase_kernel(s, rows, columns, kernel, parallel);
      const Outputs<T> inputs = {dx + y * row + x * channels, s.height * row, s.stride_height * row,
                                 s.stride_width * channels};
      convolve<T>(phase, dy, weights.data(), {nullptr, nullptr, Activation::kNone}, inputs, parallel);
    }
}

#define BLOCKS_INSTANTIATE(T)                                                                            \
  template void dense<T>(const Spatial&, const T*, const float*, const float*, const T*, T*, Activation, \
                         const Parallel&);                                                               \
  template void dense_input_gradient<T>(const Spatial&, const T*, const float*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
