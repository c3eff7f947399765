// Spatial convolution in groups, depthwise included, and the gradient of its inputs.
//
// Each task stages a few rows of its inputs as floats, with the zeros of the padding written out, and computes from
// these. A vector holds kLanes neighbouring output channels. Where a group has few of them, a vector spans several
// groups, and each staged value is broadcast to the lanes of its group.
#include "spatial.h"

#include <algorithm>
#include <vector>

#include "plan.h"
#include "spatial_tiles.h"

namespace blocks {
namespace {

constexpr int64_t kStagedFloats = 1 << 16;  // that are staged at a time, or one block's
constexpr int64_t kL1Floats = 4 << 10;      // half of what a core's first-level cache holds (32 KiB)

// A row of tiles: its outputs, and what they read in any block of channels.
struct TileRow {
  Window window;
  int64_t start;  // of its outputs in y, but for the channel
  int rows;
};

// The vectors of output channels: of a group two are computed together where it has that many.
struct VectorLayout {
  bool multi_group;
  int channels;  // of all groups, if multi_group; else of one
  int blocks;    // of channels, which are staged apart
  int pairs;     // of vectors in each block; the last may have one vector only

  VectorLayout(const Spatial& s, const Plan& plan)
      : multi_group(spans_groups(s)),
        channels(multi_group ? plan.out_channels : plan.out_channels_per_group),
        blocks(multi_group ? num_vectors(channels) : s.groups),
        pairs(multi_group ? 1 : (num_vectors(channels) + 1) / 2) {}
  int width(int pair) const { return !multi_group && 2 * pair + 1 < num_vectors(channels) ? 2 : 1; }
  int max_width() const { return width(0); }
  int lanes() const { return std::min(kLanes, channels); }
  int channel(int block, int pair) const {
    return multi_group ? vector_offset(block, channels) : block * channels + offset_in_group(2 * pair, channels);
  }
  int second_vector(int pair) const {
    return offset_in_group(2 * pair + 1, channels) - offset_in_group(2 * pair, channels);
  }
};

// What all tasks of a convolution share. The weights of each pair of vectors begin at their offset.
template <class T>
struct Convolution {
  const Spatial& s;
  const Plan& plan;
  const VectorLayout& layout;
  const T* x;
  const float* weights;
  const std::vector<int64_t>& weight_offsets;
  const Epilogue<T>& epilogue;
  T* y;

  // Between output rows that read the same rows of the kernel.
  int row_stride() const { return plan.transposed ? s.stride_height : 1; }
  const T* source(int64_t image, int row) const {
    return x + (image * plan.height + row) * plan.width * int64_t(plan.channels);
  }
};

// How a task divides its rows.
struct Tiling {
  std::vector<TileShape> shapes;  // of one vector, and of two where there are pairs
  int columns = 0;                // of a staged row, but for the padding in front; the last tile may reach beyond it
  int span = 0;                   // rows of the outputs that are computed together
  int tiles_of_block = 0;

  template <class T>
  Tiling(const Convolution<T>& conv, int depth, int64_t image_rows) {
    const Plan& plan = conv.plan;
    choose_shapes(plan, conv.layout.max_width(), int((image_rows + conv.row_stride() - 1) / conv.row_stride()));
    choose_span(conv.s, plan, conv.row_stride(), depth, image_rows);
    for (int pair = 0; pair < conv.layout.pairs; ++pair)
      for (const auto& phase : plan.phases) {
        const TileShape& shape = shapes[conv.layout.width(pair) - 1];
        tiles_of_block += (phase.count + shape.columns - 1) / shape.columns * (span / shape.rows);
      }
  }

 private:
  void choose_shapes(const Plan& plan, int max_width, int rows) {
    for (int width = 1; width <= max_width; ++width) shapes.push_back(shape_of(plan.phases[0].count, rows, width));
    for (const auto& phase : plan.phases)
      for (const auto& shape : shapes) {
        const int outputs = (phase.count + shape.columns - 1) / shape.columns * shape.columns;
        columns = std::max(columns, phase.shift + (outputs - 1) * plan.stride + int(phase.taps.size()));
      }
  }

  // As many rows as leave a block and its weights in the first-level cache.
  void choose_span(const Spatial& s, const Plan& plan, int row_stride, int depth, int64_t image_rows) {
    const int64_t row_floats = int64_t(plan.before + columns) * num_vectors(depth) * kLanes;
    const int64_t weights = int64_t(s.kernel_height) * s.kernel_width * plan.depth * int(shapes.size()) * kLanes;
    int tallest = 1;
    for (const auto& shape : shapes) tallest = std::max(tallest, shape.rows);
    const int step = tallest * row_stride;
    span = step;
    while (span < image_rows && max_source_rows(s, plan.transposed, span + step) * row_floats + weights <= kL1Floats)
      span += step;
  }
};

// One task: some rows of the outputs, for all blocks of channels.
template <class T>
class RowsTask {
 public:
  RowsTask(const Convolution<T>& conv, int64_t begin, int64_t end)
      : conv_(conv),
        plan_(conv.plan),
        tiling_(conv, conv.layout.multi_group ? kLanes : plan_.depth, std::min<int64_t>(plan_.out_height, end - begin)),
        staged_(0, conv.layout.multi_group, plan_.depth, plan_.before, plan_.before + tiling_.columns,
                max_source_rows(conv.s, plan_.transposed, tiling_.span), conv.layout.blocks, kStagedFloats),
        steps_(steps_of(begin, end, plan_.out_height, tiling_.span, 0, conv.layout.blocks, staged_.blocks)) {}

  void run() {
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      stage(step);
      schedule_prefetch(step, i + 1 < steps_.size() ? &steps_[i + 1] : nullptr);
      list_tile_rows(step);
      for (int block = 0; block < step.blocks; ++block) {
        prefetcher_.first =
            next_source_.shifted(staged_.channel(next_block_ + block, plan_.channels) * int64_t(sizeof(T)));
        compute(step.block + block, staged_.block(block));
      }
    }
  }

 private:
  // The rows of the source that a step reads, but for those that are staged already.
  std::pair<int, int> new_rows(const Step& step) const {
    const auto [lowest, highest] = source_rows(conv_.s, plan_, step.top, step.bottom);
    return {step.first_of_image ? lowest : std::max(end_of_staged_, lowest), highest};
  }

  void stage(const Step& step) {
    const auto [lowest, highest] = new_rows(step);
    for (int row = lowest; row <= highest; ++row)
      staged_.fill(conv_.source(step.image, row), row, plan_.width, plan_.channels, step.block, step.blocks);
    end_of_staged_ = step.first_of_image ? highest + 1 : std::max(end_of_staged_, highest + 1);
  }

  // While a step is computed, what the next one reads and writes is fetched.
  void schedule_prefetch(const Step& step, const Step* next) {
    prefetcher_ = {};
    next_source_ = {};
    next_block_ = next ? next->block : step.block;
    if (!next) return;
    const auto [lowest, highest] = new_rows(*next);
    next_source_ = PrefetchRange(conv_.source(next->image, lowest), std::max(0, highest - lowest + 1) * plan_.width,
                                 plan_.channels * sizeof(T));
    const int64_t out_row = int64_t(plan_.out_width) * plan_.out_channels;
    const int rows = next->block == 0 ? next->bottom - next->top : 0;  // else they were written a moment ago
    prefetcher_.second = PrefetchRange(conv_.y + (next->image * plan_.out_height + next->top) * out_row,
                                       rows * out_row * int64_t(sizeof(T)) / kCacheLine, kCacheLine);
    const int kernel_rows =
        plan_.transposed ? std::max(1, conv_.s.kernel_height / conv_.s.stride_height) : conv_.s.kernel_height;
    prefetcher_.schedule(next_source_.count + prefetcher_.second.count / step.blocks, tiling_.tiles_of_block,
                         plan_.depth * kernel_rows);
  }

  // For each shape and phase.
  void list_tile_rows(const Step& step) {
    tile_rows_.clear();
    for (const auto& shape : tiling_.shapes)
      for (const auto& phase : plan_.phases) {
        tile_rows_.emplace_back();
        add_tile_rows(step, phase, shape, tile_rows_.back());
      }
  }

  void add_tile_rows(const Step& step, const Phase& phase, const TileShape& shape, std::vector<TileRow>& tile_rows) {
    const int stride = conv_.row_stride();
    const int offset = int((phase.shift + plan_.before) * staged_.pixel);
    const int row_weights = plan_.depth * int(phase.taps.size()) * shape.vectors * kLanes;
    for (int remainder = 0; remainder < stride; ++remainder)
      for (int out = step.top + remainder; out < step.bottom; out += shape.rows * stride) {
        tile_rows.emplace_back();
        auto& [window, start, rows] = tile_rows.back();
        window.pixel = staged_.pixel;
        window.depth = plan_.depth;
        window.kernel_rows = 0;
        for (int ky = 0; ky < conv_.s.kernel_height; ++ky) {
          bool any = false;
          for (int r = 0; r < shape.rows; ++r) {
            const int row = source_row(conv_.s, plan_.transposed, out + r * stride, ky);
            const bool exists = row >= 0 && out + r * stride < step.bottom;
            window.rows[window.kernel_rows][r] = (exists ? staged_.row_offset(row) : staged_.zeros_offset()) + offset;
            any |= exists;
          }
          window.weights[window.kernel_rows] = ky * row_weights;
          window.kernel_rows += any;
        }
        start = ((step.image * plan_.out_height + out) * plan_.out_width + phase.first) * plan_.out_channels;
        rows = std::min(shape.rows, (step.bottom - out + stride - 1) / stride);
      }
  }

  // All outputs of a step in one block of channels.
  void compute(int block, const float* staged) {
    const VectorLayout& layout = conv_.layout;
    for (int pair = 0; pair < layout.pairs; ++pair) {
      const int width = layout.width(pair);
      const TileShape& shape = tiling_.shapes[width - 1];
      const auto tile = layout.multi_group ? tile_of<T, true>(shape) : tile_of<T, false>(shape);
      const float* weights = conv_.weights + conv_.weight_offsets[block * layout.pairs + pair];
      for (size_t p = 0; p < plan_.phases.size(); ++p) {
        const Phase& phase = plan_.phases[p];
        const int taps = int(phase.taps.size());
        const int64_t column_stride = int64_t(phase.step) * plan_.out_channels;
        const Target<T> target = {conv_.epilogue,
                                  conv_.y,
                                  column_stride,
                                  int64_t(conv_.row_stride()) * plan_.out_width * plan_.out_channels,
                                  layout.channel(block, pair),
                                  layout.second_vector(pair),
                                  layout.lanes()};
        for (const auto& row : tile_rows_[(width - 1) * plan_.phases.size() + p])
          for (int j = 0; j < phase.count; j += shape.columns)
            tile(target, row.window, {staged + j * plan_.stride * staged_.pixel, weights}, taps, plan_.stride,
                 row.start + j * column_stride, row.rows, std::min(shape.columns, phase.count - j), prefetcher_);
        weights += int64_t(conv_.s.kernel_height) * plan_.depth * taps * width * kLanes;
      }
    }
  }

  const Convolution<T>& conv_;
  const Plan& plan_;
  const Tiling tiling_;
  Staged staged_;
  const std::vector<Step> steps_;
  std::vector<std::vector<TileRow>> tile_rows_;
  int end_of_staged_ = 0;  // rows of the source before this one are staged, or not needed
  Prefetcher prefetcher_;
  PrefetchRange next_source_;  // in the first channel
  int next_block_ = 0;
};

// The weights of all pairs of vectors, packed in parallel; their offsets are appended to `offsets`.
const float* pack_all_weights(const Spatial& s, const Plan& plan, const VectorLayout& layout, const float* kernel,
                              std::vector<int64_t>& offsets, const Parallel& parallel) {
  int64_t taps = 0, size = 0;
  for (const auto& phase : plan.phases) taps += phase.taps.size();
  for (int i = 0; i < layout.blocks * layout.pairs; ++i) {
    offsets.push_back(size);
    size += taps * s.kernel_height * plan.depth * layout.width(i % layout.pairs) * kLanes;
  }
  float* packed = scratch(kShared, size);
  const int64_t count = offsets.size(), tasks = size < (1 << 14) ? 1 : std::min<int64_t>(count, parallel.threads);
  parallel.run(tasks, [&](int64_t task) {
    for (int64_t i = count * task / tasks; i < count * (task + 1) / tasks; ++i) {
      const int pair = int(i % layout.pairs);
      pack_weights(s, plan, kernel, layout.channel(int(i / layout.pairs), pair), layout.second_vector(pair),
                   layout.width(pair), layout.lanes(), packed + offsets[i]);
    }
  });
  return packed;
}

template <class T>
void convolve(const Spatial& s, bool transposed, const T* x, const float* kernel, const Epilogue<T>& epilogue, T* y,
              const Parallel& parallel) {
  const Plan plan = plan_of(s, transposed);
  const VectorLayout layout(s, plan);
  std::vector<int64_t> offsets;
  const float* packed = pack_all_weights(s, plan, layout, kernel, offsets, parallel);
  const Convolution<T> conv = {s, plan, layout, x, packed, offsets, epilogue, y};
  const int64_t rows = s.batch * plan.out_height;
  // Whole images where there are enough of them: no row is staged twice.
  const int64_t tasks = s.batch % parallel.threads ? std::min<int64_t>(rows, parallel.threads * 4) : parallel.threads;
  parallel.run(tasks, [&](int64_t task) {
    const int64_t begin = rows * task / tasks, end = rows * (task + 1) / tasks;
    RowsTask<T>(conv, begin, end).run();
  });
}

}  // namespace

template <class T>
void spatial(const Spatial& s, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
             Activation activation, const Parallel& parallel) {
  if (groups_are_products<T>(s)) return dense(s, x, kernel, bias, residual, y, activation, parallel);
  convolve<T>(s, false, x, kernel, {bias, residual, activation}, y, parallel);
}

template <class T>
void spatial_input_gradient(const Spatial& s, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  if (groups_are_products<T>(s)) return dense_input_gradient(s, dy, kernel, dx, parallel);
  convolve<T>(s, true, dy, kernel, {nullptr, nullptr, Activation::kNone}, dx, parallel);
}

#define BLOCKS_INSTANTIATE(T)                                                                              \
  template void spatial<T>(const Spatial&, const T*, const float*, const float*, const T*, T*, Activation, \
                           const Parallel&);                                                               \
  template void spatial_input_gradient<T>(const Spatial&, const T*, const float*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
