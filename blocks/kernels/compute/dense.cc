// Spatial convolution of one group, as matrix products.
//
// What an output reads of one row of the inputs is contiguous there, and what its right neighbour reads begins a stride
// further on. So a tile of neighbouring outputs sums up one segment for each row of the kernel, read in place from
// rows that were copied as floats with the padding's zeros beside them.
#include <algorithm>
#include <vector>

#include "rows.h"

namespace blocks {
namespace {

constexpr int64_t kMaxCopied = 1 << 15;  // floats of a block's input rows, or of one row's window
constexpr int kPositions = 128;  // whose gradients stay in the first-level cache

// A function, as an object would be built when the library loads: by instructions that the processor may lack.
const Parallel& one_thread() {
  static const Parallel parallel = {1, [](int64_t tasks, const std::function<void(int64_t)>& run) {
                                      for (int64_t task = 0; task < tasks; ++task) run(task);
                                    }};
  return parallel;
}

// Images are divided into blocks of a few rows of outputs.
struct RowBlocks {
  int row_depth, depth;  // floats of a row of the kernel, and of all of it, for one output
  int64_t row, step;  // floats of a copied row, and from what one output reads of it to what the next does
  int per_image, rows;  // blocks of an image, and output rows of a block
  int64_t count;

  RowBlocks(const Spatial& s, int threads)
      : row_depth(s.kernel_width * s.in_channels_per_group),
        depth(s.kernel_height * row_depth),
        row(int64_t((s.out_width - 1) * s.stride_width + s.kernel_width) * s.in_channels_per_group),
        step(int64_t(s.stride_width) * s.in_channels_per_group) {
    const int64_t fit = (kMaxCopied / row - s.kernel_height) / s.stride_height + 1;
    const int64_t share = std::max<int64_t>(1, s.batch * s.out_height / (threads * 4));
    rows = int(std::max<int64_t>(1, std::min({fit, share, int64_t(s.out_height)})));
    per_image = (s.out_height + rows - 1) / rows;
    count = s.batch * per_image;
  }
};

// Entries of one type as those of another.
template <class From, class To>
void copy(const From* from, int64_t count, To* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i < count) store_tail(to + i, load_tail(from + i, int(count - i)), int(count - i));
}

// One block, its input rows copied into the calling thread's memory.
struct RowBlock {
  const Spatial& s;
  const RowBlocks& blocks;
  int64_t image;
  int top, bottom;  // rows of outputs
  int first_row, end_row;  // rows of inputs that they read
  float* copied;

  static int64_t floats(const Spatial& s, const RowBlocks& blocks) {
    return ((blocks.rows - 1) * int64_t(s.stride_height) + s.kernel_height) * blocks.row;
  }

  template <class T>
  RowBlock(const Spatial& s_, const RowBlocks& blocks_, const T* x, int64_t number, float* to)
      : s(s_),
        blocks(blocks_),
        image(number / blocks_.per_image),
        top(int(number % blocks_.per_image) * blocks_.rows),
        copied(to) {
    bottom = std::min(top + blocks.rows, s.out_height);
    first_row = std::min(s.height, std::max(0, top * s.stride_height - s.pad_top));
    end_row = std::max(first_row, std::min(s.height, (bottom - 1) * s.stride_height - s.pad_top + s.kernel_height));
    const int64_t before = std::min(blocks.row, int64_t(s.pad_left) * s.in_channels_per_group);
    const int64_t inner = std::min(blocks.row - before, int64_t(s.width) * s.in_channels_per_group);
    for (int y = first_row; y < end_row; ++y, to += blocks.row) {
      std::memset(to, 0, sizeof(float) * before);
      copy(x + (image * s.height + y) * s.width * s.in_channels_per_group, inner, to + before);
      std::memset(to + before + inner, 0, sizeof(float) * (blocks.row - before - inner));
    }
  }

  // What output row y reads with row ky of the kernel; null where that is padding.
  const float* input_row(int y, int ky) const {
    const int row = y * s.stride_height + ky - s.pad_top;
    return row < first_row || row >= end_row ? nullptr : copied + (row - first_row) * blocks.row;
  }
};

// image += what the products hold of each pixel: those of output row `out_row`, (out_width, depth).
void scatter(const Spatial& s, const RowBlocks& blocks, const float* products, int out_row, float* image) {
  for (int ky = 0; ky < s.kernel_height; ++ky) {
    const int row = out_row * s.stride_height + ky - s.pad_top;
    if (row < 0 || row >= s.height) continue;
    for (int c = 0; c < s.out_width; ++c) {
      const int start = c * s.stride_width - s.pad_left;
      const int begin = std::max(0, -start), end = std::min(s.kernel_width, s.width - start);
      const float* from = products + int64_t(c) * blocks.depth + ky * blocks.row_depth;
      float* to = image + (int64_t(row) * s.width + start) * s.in_channels_per_group;
      for (int i = begin * s.in_channels_per_group; i < end * s.in_channels_per_group; i += kLanes) {
        const int lanes = std::min(kLanes, end * s.in_channels_per_group - i);
        store_tail(to + i, load_tail(to + i, lanes) + load_tail(from + i, lanes), lanes);
      }
    }
  }
}

// The segments of a row of the kernel for output rows [top, bottom): those of their inputs that exist, and `b`, which
// goes b_step further for each output row.
void add_segments(const RowBlock& block, int ky, int top, int bottom, const float* b, int64_t b_step,
                  std::vector<GemmSegment>& segments) {
  for (int y = top; y < bottom; ++y)
    if (const float* inputs = block.input_row(y, ky)) segments.push_back({inputs, b + (y - top) * b_step});
}

// Each output's gradients times all weights, added where the inputs are: for all strides and padding.
template <class T>
void input_gradient_by_scatter(const Spatial& s, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  const RowBlocks blocks(s, parallel.threads);
  const int outputs = s.out_channels_per_group;
  std::vector<float> transposed(int64_t(blocks.depth) * outputs);  // once, not at every product
  for (int64_t k = 0; k < blocks.depth; ++k)
    for (int64_t c = 0; c < outputs; ++c) transposed[c * blocks.depth + k] = kernel[k * outputs + c];
  const int64_t size = int64_t(s.height) * s.width * s.in_channels_per_group, row = int64_t(s.out_width) * outputs;
  const int rows_at_once = (kPositions + s.out_width - 1) / s.out_width;
  parallel.run(s.batch, [&](int64_t image) {
    float* products = scratch(0, rows_at_once * (int64_t(s.out_width) * blocks.depth + row) + size);
    float* gradients = products + rows_at_once * int64_t(s.out_width) * blocks.depth;
    float* sum = gradients + rows_at_once * row;
    std::memset(sum, 0, sizeof(float) * size);
    for (int begin = 0; begin < s.out_height; begin += rows_at_once) {
      const int rows = std::min(rows_at_once, s.out_height - begin);
      copy(dy + (image * s.out_height + begin) * row, rows * row, gradients);
      pointwise<float>({int64_t(rows) * s.out_width, 1, outputs, blocks.depth}, gradients, transposed.data(), nullptr,
                       nullptr, products, Activation::kNone, one_thread());
      for (int i = 0; i < rows; ++i)
        scatter(s, blocks, products + int64_t(i) * s.out_width * blocks.depth, begin + i, sum);
    }
    copy(sum, size, dx + image * size);
  });
}

// The kernel for the gradient of the inputs: turned by half a circle, inputs and outputs exchanged.
std::vector<float> turned_kernel(const Spatial& s, const float* kernel, const Parallel& parallel) {
  const int64_t taps = int64_t(s.kernel_height) * s.kernel_width;
  const int64_t inputs = s.in_channels_per_group, outputs = s.out_channels_per_group;
  std::vector<float> turned(taps * inputs * outputs);
  parallel.run(taps, [&](int64_t tap) {
    const float* from = kernel + (taps - 1 - tap) * inputs * outputs;
    for (int64_t o = 0; o < outputs; ++o)
      for (int64_t i = 0; i < inputs; ++i) turned[(tap * outputs + o) * inputs + i] = from[i * outputs + o];
  });
  return turned;
}

// totals (depth, width) += what output rows [top, bottom) of a block give.
template <class T>
void add_filter_gradient(const Spatial& s, const RowBlock& block, int top, int bottom, const T* dy, float* panel,
                         std::vector<GemmSegment>& segments, float* totals, int64_t width) {
  const RowBlocks& blocks = block.blocks;
  const int outputs = s.out_channels_per_group, step = balanced_rows(blocks.row_depth);
  const float* direct = outputs % kLanes ? nullptr : float_or_null(dy);  // else a copy of each panel
  for (int c = 0; c < outputs; c += kTileColumns) {
    if (!direct) pack(dy, int64_t(bottom - top) * s.out_width, outputs, outputs, 1, c, panel);
    const float* b = direct ? direct + c : panel;
    const int64_t b_step = direct ? outputs : kTileColumns;
    for (int ky = 0; ky < s.kernel_height; ++ky) {
      segments.clear();
      add_segments(block, ky, top, bottom, b, s.out_width * b_step, segments);
      if (segments.empty()) continue;
      const GemmArgs args{segments.data(), int(segments.size()), s.out_width, 1, blocks.step, b_step};
      for (int k = 0; k < blocks.row_depth; k += step) {
        const int rows = std::min(step, blocks.row_depth - k);
        const Tile tile = outputs - c > kLanes ? tile_of<2, true>(rows) : tile_of<1, true>(rows);
        tile(args, k, totals + (int64_t(ky) * blocks.row_depth + k) * width + c, width);
      }
    }
  }
}

}  // namespace

template <class T>
void dense(const Spatial& s, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
           Activation activation, const Parallel& parallel) {
  const RowBlocks blocks(s, parallel.threads);
  const Epilogue<T> epilogue{bias, residual, activation};
  const int outputs = s.out_channels_per_group, count = num_panels(outputs);
  const int64_t panel_size = int64_t(blocks.depth) * kTileColumns;
  float* packed = scratch(kShared, count * panel_size);
  for (int i = 0; i < count; ++i)
    pack(kernel, blocks.depth, outputs, outputs, 1, i * kTileColumns, packed + i * panel_size);
  parallel.run(blocks.count, [&](int64_t number) {
    const RowBlock block(s, blocks, x, number, scratch(0, RowBlock::floats(s, blocks)));
    std::vector<GemmSegment> segments;
    for (int i = 0; i < count; ++i)
      for (int row = block.top; row < block.bottom; ++row) {
        segments.clear();
        for (int ky = 0; ky < s.kernel_height; ++ky) {
          const float* weights = packed + i * panel_size + int64_t(ky) * blocks.row_depth * kTileColumns;
          add_segments(block, ky, row, row + 1, weights, 0, segments);
        }
        const int64_t start = (block.image * s.out_height + row) * s.out_width * outputs;
        rows_of_panel<T>({segments.data(), int(segments.size()), blocks.row_depth, blocks.step, 1, kTileColumns},
                         std::min(kTileColumns, outputs - i * kTileColumns), y + start + i * kTileColumns, outputs,
                         s.out_width, epilogue.shifted(start), i * kTileColumns);
      }
  });
}

template <class T>
void dense_input_gradient(const Spatial& s, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  const int pad_top = s.kernel_height - 1 - s.pad_top, pad_left = s.kernel_width - 1 - s.pad_left;
  const bool unstrided = s.stride_height == 1 && s.stride_width == 1;
  if (!unstrided || pad_top < 0 || pad_left < 0 || 2 * s.in_channels_per_group < kLanes)
    return input_gradient_by_scatter(s, dy, kernel, dx, parallel);
  const Spatial turned = {s.batch,
                          s.out_height,
                          s.out_width,
                          1,
                          s.out_channels_per_group,
                          s.in_channels_per_group,
                          s.kernel_height,
                          s.kernel_width,
                          1,
                          1,
                          pad_top,
                          pad_left,
                          s.height,
                          s.width};
  const std::vector<float> weights = turned_kernel(s, kernel, parallel);
  dense<T>(turned, dy, weights.data(), nullptr, nullptr, dx, Activation::kNone, parallel);
}

template <class T>
void dense_filter_gradient(const Spatial& s, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  const RowBlocks blocks(s, parallel.threads);
  const int outputs = s.out_channels_per_group;
  const int64_t width = int64_t(num_panels(outputs)) * kTileColumns, size = blocks.depth * width;  // of the totals
  const int64_t dy_row = int64_t(s.out_width) * outputs;
  const int rows_at_once = std::max(1, kPositions / s.out_width);
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(parallel.threads, blocks.count));
  std::vector<float> totals(tasks * size);
  parallel.run(tasks, [&](int64_t task) {
    std::vector<GemmSegment> segments;
    float* panel = scratch(1, int64_t(rows_at_once) * s.out_width * kTileColumns);
    for (int64_t number = blocks.count * task / tasks; number < blocks.count * (task + 1) / tasks; ++number) {
      const RowBlock block(s, blocks, x, number, scratch(0, RowBlock::floats(s, blocks)));
      for (int top = block.top; top < block.bottom; top += rows_at_once)
        add_filter_gradient(s, block, top, std::min(top + rows_at_once, block.bottom),
                            dy + (block.image * s.out_height + top) * dy_row, panel, segments,
                            totals.data() + task * size, width);
    }
  });
  for (int64_t k = 0; k < blocks.depth; ++k)
    for (int64_t c = 0; c < outputs; ++c) {
      float sum = 0;
      for (int64_t task = 0; task < tasks; ++task) sum += totals[task * size + k * width + c];
      d_kernel[k * outputs + c] = sum;
    }
}

#define BLOCKS_INSTANTIATE(T)                                                                            \
  template void dense<T>(const Spatial&, const T*, const float*, const float*, const T*, T*, Activation, \
                         const Parallel&);                                                               \
  template void dense_input_gradient<T>(const Spatial&, const T*, const float*, T*, const Parallel&);    \
  template void dense_filter_gradient<T>(const Spatial&, const T*, const T*, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
