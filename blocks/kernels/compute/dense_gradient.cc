// The gradient of the filters of a spatial convolution, as one matrix product a group: a sum over all outputs.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "row_blocks.h"

namespace blocks {
namespace {

constexpr int kPositions = 128;  // whose gradients stay in the first-level cache

// The rows of a block as the gradient of the filters takes them, in which a step is one output.
template <class F>
struct GradientRows {
  const RowBlock<F>& block;

  explicit GradientRows(const RowBlock<F>& block_) : block(block_) {}
  // What output row y and row ky of the kernel multiply: inputs, and `b` (steps of the row), words `b_step` apart.
  void add_segments(int y, int ky, const float* b, int64_t, std::vector<GemmSegment<F>>& segments) const {
    if (const F* inputs = block.input_row(y, ky)) segments.push_back({inputs, b, block.s.out_width});
  }
};

#if defined(__AVX512BF16__)
// A step is a pair of neighbouring outputs: a word holds what both read at one place of the kernel. The last output of
// an odd number has no neighbour: what it reads is in words with zeros, behind those of its row.
template <>
struct GradientRows<bf16> {
  const RowBlock<bf16>& block;
  float* words;

  int64_t row_words() const { return block.blocks.row + block.blocks.row_depth; }
  explicit GradientRows(const RowBlock<bf16>& block_) : block(block_) {
    const RowBlocks& blocks = block.blocks;
    const int64_t step = blocks.step, last = (block.s.out_width - 1) * step;  // where the last output begins to read
    const int rows = block.end_row - block.first_row;
    float* to = words = scratch(2, rows * row_words());
    for (int row = 0; row < rows; ++row, to += row_words()) {
      const bf16* from = block.copied + row * blocks.row;
      pair(from, from + step, blocks.row - step, to);
      if (block.s.out_width % 2) pair(from + last, nullptr, blocks.row_depth, to + blocks.row);
    }
  }
  static void pair(const bf16* low, const bf16* high, int64_t count, float* to) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(to + i, pairs(load(low + i), high ? load(high + i) : Vec{}));
    if (const int lanes = int(count - i); lanes > 0)
      store_tail(to + i, pairs(load_tail(low + i, lanes), high ? load_tail(high + i, lanes) : Vec{}), lanes);
  }
  void add_segments(int y, int ky, const float* b, int64_t b_step, std::vector<GemmSegment<bf16>>& segments) const {
    const bf16* inputs = block.input_row(y, ky);
    if (!inputs) return;
    const int64_t whole = block.s.out_width / 2;
    const float* row = words + (inputs - block.copied) / block.blocks.row * row_words();
    if (whole) segments.push_back({reinterpret_cast<const bf16*>(row), b, whole});
    if (block.s.out_width % 2)
      segments.push_back({reinterpret_cast<const bf16*>(row + block.blocks.row), b + whole * b_step, 1});
  }
};
#endif

// totals (depth, width) += what output rows [top, bottom) of a block give; dy are a group's gradients of these rows.
template <class F, class T>
void add_filter_gradient(const GradientRows<F>& rows, int top, int bottom, const T* dy, float* panel,
                         std::vector<GemmSegment<F>>& segments, float* totals, int64_t width) {
  const Spatial& s = rows.block.s;
  const RowBlocks& blocks = rows.block.blocks;
  const int outputs = s.out_channels_per_group, step = balanced_rows(blocks.row_depth);
  const int64_t dy_step = int64_t(s.groups) * outputs, row_steps = num_steps<F>(s.out_width);
  const float* direct = nullptr;  // else a copy of each panel
  if constexpr (std::is_same_v<F, float>) direct = outputs % kLanes ? nullptr : float_or_null(dy);
  const int64_t b_step = direct ? dy_step : kTileColumns;
  for (int c = 0; c < outputs; c += kTileColumns) {
    for (int y = top; y < bottom && !direct; ++y)
      pack<F>(dy + (y - top) * s.out_width * dy_step, s.out_width, outputs, dy_step, 1, c,
              panel + (y - top) * row_steps * kTileColumns);
    const float* b = direct ? direct + c : panel;
    for (int ky = 0; ky < s.kernel_height; ++ky) {
      segments.clear();
      for (int y = top; y < bottom; ++y) rows.add_segments(y, ky, b + (y - top) * row_steps * b_step, b_step, segments);
      if (segments.empty()) continue;
      constexpr int kPair = kStepFactors<F>;
      const GemmArgs<F> args{segments.data(), int(segments.size()), kPair, blocks.step * kPair * kPair, b_step};
      for (int k = 0; k < blocks.row_depth; k += step) {
        const int height = std::min(step, blocks.row_depth - k);
        const Tile<F> tile = outputs - c > kLanes ? tile_of<F, 2, true>(height) : tile_of<F, 1, true>(height);
        tile(args, k * kPair, totals + (int64_t(ky) * blocks.row_depth + k) * width + c, width);
      }
    }
  }
}

// Whether a block of rows would add to more weights than stay in the cache, for the few outputs that an image has.
bool has_few_outputs(const Spatial& s) {
  const int64_t taps = int64_t(s.kernel_height) * s.kernel_width;
  return s.in_channels_per_group >= kLanes && int64_t(s.out_height) * s.out_width <= kPositions &&
         taps * s.groups * s.in_channels_per_group * s.out_channels_per_group > kL2Floats;
}

// Then each tap is a pointwise convolution, of the pixels that it reads of all images.
template <class T>
void gradient_by_taps(const Spatial& s, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  const Pointwise tap{s.batch * s.out_height * s.out_width, s.groups, s.in_channels_per_group,
                      s.out_channels_per_group};
  const int64_t channels = int64_t(s.groups) * s.in_channels_per_group;
  const std::unique_ptr<T[]> pixels(new T[tap.rows * channels]);
  for (int ky = 0; ky < s.kernel_height; ++ky)
    for (int kx = 0; kx < s.kernel_width; ++kx) {
      parallel.run(s.batch * s.out_height, [&](int64_t out_row) {
        const int64_t image = out_row / s.out_height, y = out_row % s.out_height * s.stride_height + ky - s.pad_top;
        T* to = pixels.get() + out_row * s.out_width * channels;
        for (int out_column = 0; out_column < s.out_width; ++out_column, to += channels) {
          const int column = out_column * s.stride_width + kx - s.pad_left;
          if (y < 0 || y >= s.height || column < 0 || column >= s.width) std::memset(to, 0, sizeof(T) * channels);
          else std::memcpy(to, x + ((image * s.height + y) * s.width + column) * channels, sizeof(T) * channels);
        }
      });
      pointwise_filter_gradient(tap, pixels.get(), dy, d_kernel, parallel);
      d_kernel += channels * s.out_channels_per_group;
    }
}

}  // namespace

template <class T>
void dense_filter_gradient(const Spatial& s, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  using F = Factor<T>;
  if (has_few_outputs(s)) return gradient_by_taps(s, x, dy, d_kernel, parallel);
  const RowBlocks blocks(s, parallel.threads);
  const int outputs = s.out_channels_per_group;
  const int64_t width = (outputs + kLanes - 1) / kLanes * kLanes, size = blocks.depth * width;  // of a group's totals
  const int64_t dy_row = int64_t(s.out_width) * s.groups * outputs;
  const int rows_at_once = std::max(1, kPositions / s.out_width);
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(parallel.threads, blocks.count));
  std::vector<float> totals(tasks * s.groups * size);
  parallel.run(tasks, [&](int64_t task) {
    std::vector<GemmSegment<F>> segments;
    float* panel = scratch(1, rows_at_once * num_steps<F>(s.out_width) * kTileColumns);
    F* copied = factors_scratch<F>(0, RowBlock<F>::entries(s, blocks));
    for (int64_t number = blocks.count * task / tasks; number < blocks.count * (task + 1) / tasks; ++number)
      for (int group = 0; group < s.groups; ++group) {
        const RowBlock<F> block(s, blocks, x, number, group, copied);
        const GradientRows<F> rows(block);
        for (int top = block.top; top < block.bottom; top += rows_at_once)
          add_filter_gradient(rows, top, std::min(top + rows_at_once, block.bottom),
                              dy + (block.image * s.out_height + top) * dy_row + int64_t(group) * outputs, panel,
                              segments, totals.data() + (task * s.groups + group) * size, width);
      }
  });
  const int64_t sums = std::min<int64_t>(blocks.depth, parallel.threads);
  parallel.run(sums, [&](int64_t part) {
    for (int64_t k = blocks.depth * part / sums; k < blocks.depth * (part + 1) / sums; ++k)
      for (int64_t group = 0; group < s.groups; ++group)
        for (int64_t c = 0; c < outputs; ++c) {
          float sum = 0;
          for (int64_t task = 0; task < tasks; ++task)
            sum += totals[((task * s.groups + group) * blocks.depth + k) * width + c];
          d_kernel[(k * s.groups + group) * outputs + c] = sum;
        }
  });
}

template void dense_filter_gradient<float>(const Spatial&, const float*, const float*, float*, const Parallel&);
template void dense_filter_gradient<bf16>(const Spatial&, const bf16*, const bf16*, float*, const Parallel&);

}  // namespace blocks
