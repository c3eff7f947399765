// Spatial convolution in groups, depthwise included, and the gradient of its inputs.
//
// Each task stages a few rows of its inputs as floats, with the zeros of the padding written out, and computes from
// these. A vector holds kLanes neighbouring output channels. Where a group has few of them, a vector spans several
// groups, and each staged value is spread over the lanes of its group once, when it is staged.
#include "spatial.h"

#include <algorithm>
#include <vector>

#include "plan.h"
#include "window.h"

namespace blocks {
namespace {

// A tile's shape: rows, columns and vectors, 16 sums or a few less. What lies beyond the outputs is computed in vain.
struct Shape {
  int rows, columns, vectors;
};

constexpr Shape kShapes[] = {{1, 16, 1}, {1, 14, 1}, {2, 8, 1}, {2, 7, 1}, {4, 4, 1}, {1, 8, 2}, {1, 7, 2}, {2, 4, 2}};

Shape shape_of(int columns, int rows, int vectors) {
  Shape best = kShapes[0];
  double least = 1e300;
  for (const auto& shape : kShapes) {
    if (shape.vectors != vectors) continue;
    const double cost = double((columns + shape.columns - 1) / shape.columns) * ((rows + shape.rows - 1) / shape.rows) *
                        (shape.rows * shape.columns + 1);
    if (cost < least) best = shape, least = cost;
  }
  return best;
}

// A task's share of one row of tiles: rows from `row` on of one image, for one run of channels.
template <class T>
struct Share {
  const Spatial& s;
  const Plan& plan;
  const Finish<T>& finish;
  T* y;
  int64_t image;
  int row, last;  // rows of the image: first, and the one behind
  int channel;    // first of the outputs
  int second;     // from the first vector's channel to that of the second
  int lanes;
  Ahead& ahead;
};

template <class T, int R, int J, int V, bool Spread>
void run_tile(const Share<T>& share, const Phase& phase, Window& window, int j) {
  const Plan& plan = share.plan;
  const int between = plan.transposed ? share.s.stride_height : 1;
  const int count = std::min(J, phase.count - j);
  const int rows = std::min(R, (share.last - share.row + between - 1) / between);
  const int64_t step = int64_t(phase.step) * plan.out_channels;
  const int64_t start = ((share.image * plan.out_height + share.row) * plan.out_width + int64_t(j) * phase.step +
                         phase.first) * plan.out_channels + share.channel;
  const int64_t row_step = int64_t(between) * plan.out_width * plan.out_channels;
  if (Spread)  // so little work that writing would have to wait for the memory
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < count; ++i) __builtin_prefetch(share.y + start + r * row_step + i * step, 1);
  Vec sums[R * J * V];
  for (int v = 0; v < V; ++v) {
    const float* bias = share.finish.bias;
    const Vec first = bias ? load_some(bias + share.channel + v * share.second, share.lanes) : Vec{};
    for (int i = 0; i < R * J; ++i) sums[i * V + v] = first;
  }
  window.ahead = share.ahead.next(window.count * plan.depth);
  accumulate<R, J, V, Spread>(window, int64_t(j) * plan.stride * window.pixel, sums, int(phase.taps.size()),
                              plan.stride);
  const T* residual = share.finish.residual;
  with_activation(share.finish.activation, [&](auto act) {
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < V; ++v) {
        int64_t at = start + r * row_step + v * share.second;
        for (int i = 0; i < count; ++i, at += step) {
          Vec sum = sums[(r * J + i) * V + v];
          if (share.lanes == kLanes) {
            if (residual) sum += load(residual + at);
            store(share.y + at, activate<decltype(act)::value>(sum));
          } else {
            if (residual) sum += load_some(residual + at, share.lanes);
            store_some(share.y + at, activate<decltype(act)::value>(sum), share.lanes);
          }
        }
      }
  });
}

template <class T, bool Spread>
void run_tiles(const Share<T>& share, const Phase& phase, Shape shape, const Staged& staged, const float* weights) {
  const Spatial& s = share.s;
  const Plan& plan = share.plan;
  const int between = plan.transposed ? s.stride_height : 1;
  const int64_t offset = int64_t(phase.shift + plan.before) * staged.pixel;
  const int64_t row_weights = int64_t(plan.depth) * phase.taps.size() * shape.vectors * kLanes;
  Window window = {staged.pixel, plan.depth, 0, {}, {}, {}};
  for (int ky = 0; ky < s.kernel_height; ++ky) {
    bool any = false;
    for (int r = 0; r < shape.rows; ++r) {
      const int row = source_row(s, plan.transposed, share.row + r * between, ky);
      const bool exists = row >= 0 && share.row + r * between < share.last;
      window.rows[window.count][r] = (exists ? staged.row(row) : staged.zeros) + offset;
      any |= exists;
    }
    window.weights[window.count] = weights + ky * row_weights;
    window.count += any;
  }
  for (int j = 0; j < phase.count; j += shape.columns) {
    auto go = [&](auto tile) { tile(share, phase, window, j); };
    switch (shape.columns * 10 + shape.vectors) {
      case 161: go(run_tile<T, 1, 16, 1, Spread>); break;
      case 141: go(run_tile<T, 1, 14, 1, Spread>); break;
      case 81: go(run_tile<T, 2, 8, 1, Spread>); break;
      case 71: go(run_tile<T, 2, 7, 1, Spread>); break;
      case 41: go(run_tile<T, 4, 4, 1, Spread>); break;
      case 82: go(run_tile<T, 1, 8, 2, false>); break;
      case 72: go(run_tile<T, 1, 7, 2, false>); break;
      default: go(run_tile<T, 2, 4, 2, false>);
    }
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
  const int span = tallest * between;  // rows of the outputs that are computed together
  int columns = 0;  // of a staged row; the last tile may reach beyond it
  for (const auto& phase : plan.phases)
    for (const auto& shape : shapes) {
      const int outputs = (phase.count + shape.columns - 1) / shape.columns * shape.columns;
      columns = std::max(columns, phase.shift + (outputs - 1) * plan.stride + int(phase.taps.size()));
    }
  Staged staged(0, Spread ? kLanes : plan.depth, plan.before, plan.before + columns,
                rows_met(s, plan.transposed, span), found.blocks);
  int tiles = 0;  // of a block
  for (int run = 0; run < found.runs; ++run)
    for (const auto& phase : plan.phases) {
      const Shape& shape = shapes[found.width(run) - 1];
      tiles += (phase.count + shape.columns - 1) / shape.columns * (tallest / shape.rows) * between;
    }
  for (int64_t row = begin; row < end;) {
    const int64_t image = row / plan.out_height;
    const int first = int(row % plan.out_height);
    const int last = int(std::min<int64_t>(plan.out_height, first + end - row));
    for (int block = 0; block < found.blocks; block += staged.blocks) {
      const int blocks = std::min(staged.blocks, found.blocks - block);
      int ready = 0;  // rows before this one are staged, or not needed
      for (int top = first; top < last; top += span) {
        const int bottom = std::min(top + span, last);
        const auto [lowest, highest] = source_rows(s, plan, top, bottom);
        for (int from = std::max(ready, lowest); from <= highest; ++from)
          staged.fill<Spread>(x + (image * plan.height + from) * plan.width * int64_t(plan.channels), from, plan.width,
                              plan.channels, block, blocks);
        ready = std::max(ready, highest + 1);
        const T* next = nullptr;  // rows that are staged next
        int next_rows = 0, next_block = block;
        if (bottom < last) {
          next_rows = source_rows(s, plan, bottom, std::min(bottom + span, last)).second - highest;
          next = x + (image * plan.height + highest + 1) * plan.width * int64_t(plan.channels);
        } else if (block + blocks < found.blocks || row + last - first < end) {
          const bool same = block + blocks < found.blocks;
          next_block = same ? block + blocks : 0;
          const auto [low, high] = source_rows(s, plan, same ? first : 0, std::min(span, last));
          next_rows = high - low + 1;
          next = x + ((image + !same) * plan.height + low) * plan.width * int64_t(plan.channels);
        }
        for (int i = block; i < block + blocks; ++i, staged.turn(i - block)) {
          const int ahead_block = next_block + i - block;
          const int source = Spread ? offset_of(ahead_block, plan.channels) : ahead_block * plan.depth;
          Ahead ahead(next + source, next_rows * plan.width, plan.channels * sizeof(T), tiles);
          for (int run = 0; run < found.runs; ++run) {
            const int width = found.width(run);
            const Shape& shape = shapes[width - 1];
            const float* weights = packed + places[i * found.runs + run];
            for (const auto& phase : plan.phases) {
              for (int rest = 0; rest < between; ++rest)
                for (int out = top + rest; out < bottom; out += shape.rows * between)
                  run_tiles<T, Spread>({s, plan, finish, y, image, out, bottom, found.channel(i, run),
                                        found.second(run), found.lanes(), ahead}, phase, shape, staged, weights);
              weights += int64_t(s.kernel_height) * plan.depth * phase.taps.size() * width * kLanes;
            }
          }
        }
        staged.turn(0);
      }
    }
    row += last - first;
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

#define BLOCKS_INSTANTIATE(T)                                                                                       \
  template void spatial<T>(const Spatial&, const T*, const float*, const float*, const T*, T*, Activation,          \
                           const Parallel&);                                                                        \
  template void spatial_input_gradient<T>(const Spatial&, const T*, const float*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)

}  // namespace blocks
