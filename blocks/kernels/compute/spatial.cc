// Spatial convolution in groups, depthwise included, and the gradient of its inputs.
//
// Each task stages a few rows of its inputs as floats, with the zeros of the padding written out, and computes from
// these. A vector holds kLanes neighbouring output channels. Where a group has few of them, a vector spans several
// groups, and each staged value is spread over the lanes of its group once, when it is staged.
#include "spatial.h"

#include <algorithm>
#include <vector>

#include "plan.h"
#include "spatial_tiles.h"

namespace blocks {
namespace {

constexpr int64_t kStagedFloats = 1 << 16;  // that are staged at a time, or one block's
constexpr int64_t kNearest = 4 << 10;  // floats that stay in a core's first-level cache (32 KiB)

// A row of tiles: its outputs, and what they read in any block of channels.
struct TileRow {
  Window window;
  int64_t start;  // of its outputs in y, but for the channel
  int rows;
};

// The rows of tiles of one phase and shape for output rows [top, bottom) of an image.
inline void find_rows(const Spatial& s, const Plan& plan, const Phase& phase, Shape shape, const Staged& staged,
                      int64_t image, int top, int bottom, std::vector<TileRow>& found) {
  const int between = plan.transposed ? s.stride_height : 1;
  const int offset = int((phase.shift + plan.before) * staged.pixel);
  const int row_weights = plan.depth * int(phase.taps.size()) * shape.vectors * kLanes;
  for (int rest = 0; rest < between; ++rest)
    for (int out = top + rest; out < bottom; out += shape.rows * between) {
      found.emplace_back();
      auto& [window, start, rows] = found.back();
      window.pixel = staged.pixel;
      window.depth = plan.depth;
      window.count = 0;
      for (int ky = 0; ky < s.kernel_height; ++ky) {
        bool any = false;
        for (int r = 0; r < shape.rows; ++r) {
          const int row = source_row(s, plan.transposed, out + r * between, ky);
          const bool exists = row >= 0 && out + r * between < bottom;
          window.rows[window.count][r] = (exists ? staged.row(row) : staged.zeros()) + offset;
          any |= exists;
        }
        window.weights[window.count] = ky * row_weights;
        window.count += any;
      }
      start = ((image * plan.out_height + out) * plan.out_width + phase.first) * plan.out_channels;
      rows = std::min(shape.rows, (bottom - out + between - 1) / between);
    }
}

// Which vectors are computed together: of a group two at once where it has that many.
struct Vectors {
  bool spread;
  int channels;   // of all groups, if spread; else of one
  int blocks;     // that are staged apart
  int runs;       // of each block

  Vectors(const Spatial& s, const Plan& plan)
      : spread(spreads(s)),
        channels(spread ? plan.out_channels : plan.lanes_channels),
        blocks(spread ? vectors(channels) : s.groups),
        runs(spread ? 1 : (vectors_of_group(channels) + 1) / 2) {}
  int width(int run) const { return !spread && 2 * run + 1 < vectors_of_group(channels) ? 2 : 1; }
  int lanes() const { return std::min(kLanes, channels); }
  int channel(int block, int run) const {
    return spread ? offset_of(block, channels) : block * channels + offset_in_group(2 * run, channels);
  }
  int second(int run) const { return offset_in_group(2 * run + 1, channels) - offset_in_group(2 * run, channels); }
};

template <class T, bool Spread>
void run_rows(const Spatial& s, const Plan& plan, const Vectors& found, const T* x, const float* packed,
              const std::vector<int64_t>& places, const Finish<T>& finish, T* y, int64_t begin, int64_t end) {
  const int between = plan.transposed ? s.stride_height : 1;
  const int64_t image_rows = std::min<int64_t>(plan.out_height, end - begin);
  std::vector<Shape> shapes;  // for each width of a run
  int tallest = 1;
  for (int width = 1; width <= (found.runs > 1 || found.width(0) > 1 ? 2 : 1); ++width) {
    shapes.push_back(shape_of(plan.phases[0].count, int((image_rows + between - 1) / between), width));
    tallest = std::max(tallest, shapes.back().rows);
  }
  int columns = 0;  // of a staged row; the last tile may reach beyond it
  for (const auto& phase : plan.phases)
    for (const auto& shape : shapes) {
      const int outputs = (phase.count + shape.columns - 1) / shape.columns * shape.columns;
      columns = std::max(columns, phase.shift + (outputs - 1) * plan.stride + int(phase.taps.size()));
    }
  // Rows of the outputs that are computed together: as many as leave a block and its weights in the nearest cache.
  const int depth = Spread ? kLanes : plan.depth;
  const int64_t row_floats = int64_t(plan.before + columns) * vectors(depth) * kLanes;
  const int64_t weights = int64_t(s.kernel_height) * s.kernel_width * plan.depth * int(shapes.size()) * kLanes;
  int span = tallest * between;
  while (span < image_rows && rows_met(s, plan.transposed, span + tallest * between) * row_floats + weights <= kNearest)
    span += tallest * between;
  Staged staged(0, depth, plan.before, plan.before + columns, rows_met(s, plan.transposed, span), found.blocks,
                kStagedFloats);
  int tiles = 0;  // of a block
  for (int run = 0; run < found.runs; ++run)
    for (const auto& phase : plan.phases) {
      const Shape& shape = shapes[found.width(run) - 1];
      tiles += (phase.count + shape.columns - 1) / shape.columns * (span / shape.rows);
    }
  const int64_t row_step = int64_t(between) * plan.out_width * plan.out_channels;
  std::vector<std::vector<TileRow>> tile_rows;  // of each width and phase
  const int goes = plan.depth * std::max(1, plan.transposed ? s.kernel_height / s.stride_height : s.kernel_height);
  const std::vector<Step> steps = steps_of(begin, end, plan.out_height, span, 0, found.blocks, staged.blocks);
  const Step* const behind = steps.data() + steps.size();
  int ready = 0;  // rows before this one are staged, or not needed
  for (const Step& now : steps) {
    const auto [lowest, highest] = source_rows(s, plan, now.top, now.bottom);
    for (int row = now.fresh ? lowest : std::max(ready, lowest); row <= highest; ++row)
      staged.fill<Spread>(x + (now.image * plan.height + row) * plan.width * int64_t(plan.channels), row, plan.width,
                          plan.channels, now.block, now.blocks);
    ready = now.fresh ? highest + 1 : std::max(ready, highest + 1);
    Ahead reads;
    Upcoming upcoming;
    const Step& next = &now + 1 < behind ? *(&now + 1) : now;
    if (&next != &now) {
      auto [low, high] = source_rows(s, plan, next.top, next.bottom);
      if (!next.fresh) low = std::max(ready, low);
      reads = Ahead(x + (next.image * plan.height + low) * plan.width * int64_t(plan.channels),
                    std::max(0, high - low + 1) * plan.width, plan.channels * sizeof(T));
      const int64_t out_row = int64_t(plan.out_width) * plan.out_channels;
      const int rows = next.block == 0 ? next.bottom - next.top : 0;  // else they were written a moment ago
      upcoming.second = Ahead(y + (next.image * plan.out_height + next.top) * out_row,
                              rows * out_row * int64_t(sizeof(T)) / kLine, kLine);
      upcoming.divide(reads.pieces + upcoming.second.pieces / now.blocks, tiles, goes);
    }
    tile_rows.clear();
    for (const auto& shape : shapes)
      for (const auto& phase : plan.phases) {
        tile_rows.emplace_back();
        find_rows(s, plan, phase, shape, staged, now.image, now.top, now.bottom, tile_rows.back());
      }
    for (int i = 0; i < now.blocks; ++i) {
      const int source = Spread ? offset_of(next.block + i, plan.channels) : (next.block + i) * plan.depth;
      upcoming.first = reads.shifted(source * int64_t(sizeof(T)));
      for (int run = 0; run < found.runs; ++run) {
        const int width = found.width(run), block = now.block + i;
        const Shape& shape = shapes[width - 1];
        const auto tile = tile_of<T, Spread>(shape);
        const float* weights = packed + places[block * found.runs + run];
        for (size_t p = 0; p < plan.phases.size(); ++p) {
          const Phase& phase = plan.phases[p];
          const int taps = int(phase.taps.size());
          const int64_t step = int64_t(phase.step) * plan.out_channels;
          const Target<T> target = {finish,       y, step, row_step, found.channel(block, run), found.second(run),
                                    found.lanes()};
          for (const auto& row : tile_rows[(width - 1) * plan.phases.size() + p])
            for (int j = 0; j < phase.count; j += shape.columns)
              tile(target, row.window, {staged.block(i) + j * plan.stride * staged.pixel, weights}, taps, plan.stride,
                   row.start + j * step, row.rows, std::min(shape.columns, phase.count - j), upcoming);
          weights += int64_t(s.kernel_height) * plan.depth * taps * width * kLanes;
        }
      }
    }
  }
}

template <class T>
void convolve(const Spatial& s, bool transposed, const T* x, const float* kernel, const Finish<T>& finish, T* y,
              const Parallel& parallel) {
  const Plan plan = plan_of(s, transposed);
  const Vectors found(s, plan);
  int64_t taps = 0, size = 0;
  for (const auto& phase : plan.phases) taps += phase.taps.size();
  std::vector<int64_t> places;
  for (int i = 0; i < found.blocks * found.runs; ++i) {
    places.push_back(size);
    size += taps * s.kernel_height * plan.depth * found.width(i % found.runs) * kLanes;
  }
  float* packed = scratch(kShared, size);
  const int64_t packers = size < (1 << 14) ? 1 : std::min<int64_t>(places.size(), parallel.threads);
  parallel.run(packers, [&](int64_t task) {
    const int64_t count = places.size();
    for (int64_t i = count * task / packers; i < count * (task + 1) / packers; ++i) {
      const int run = int(i % found.runs);
      pack_weights(s, plan, kernel, found.channel(int(i / found.runs), run), found.second(run), found.width(run),
                   found.lanes(), packed + places[i]);
    }
  });
  const int64_t rows = s.batch * plan.out_height;
  // Whole images where there are enough of them: no row is staged twice.
  const int64_t tasks = s.batch % parallel.threads ? std::min<int64_t>(rows, parallel.threads * 4) : parallel.threads;
  parallel.run(tasks, [&](int64_t task) {
    const int64_t begin = rows * task / tasks, end = rows * (task + 1) / tasks;
    if (found.spread) run_rows<T, true>(s, plan, found, x, packed, places, finish, y, begin, end);
    else run_rows<T, false>(s, plan, found, x, packed, places, finish, y, begin, end);
  });
}

}  // namespace

template <class T>
void spatial(const Spatial& s, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
             Activation activation, const Parallel& parallel) {
  convolve<T>(s, false, x, kernel, {bias, residual, activation}, y, parallel);
}

template <class T>
void spatial_input_gradient(const Spatial& s, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  convolve<T>(s, true, dy, kernel, {nullptr, nullptr, Activation::kNone}, dx, parallel);
}

#define BLOCKS_INSTANTIATE(T)                                                                              \
  template void spatial<T>(const Spatial&, const T*, const float*, const float*, const T*, T*, Activation, \
                           const Parallel&);                                                               \
  template void spatial_input_gradient<T>(const Spatial&, const T*, const float*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)

}  // namespace blocks
