// Depthwise convolution and the gradient of its inputs, a vector of channels at a time.
#include <algorithm>
#include <vector>

#include "integers.h"
#include "simd.h"
#include "taps.h"

namespace blocks {
namespace {

// One convolution over the columns of source rows: output j sums `taps` columns from j * step + shift on.
// The gradient of a strided convolution is several, one for each remainder of its columns.
struct Line {
  int count;             // outputs
  int first, out_step;   // columns of the outputs: first, and from one to the next
  int step, shift, taps;
  int width;             // columns of the source
  const float* weights;  // [vector][row of the kernel][tap][kLanes]
  std::vector<int> columns;  // of the kernel, tap by tap
};

template <class T>
struct SourceRow {
  const T* pixels;
  int kernel_row;
};

// A bit for each of `count` columns from `first` on, set if the row has it.
inline uint64_t valid_columns(int first, int count, int width) {
  const int begin = std::clamp(-first, 0, count), end = std::clamp(width - first, begin, count);
  return (uint64_t(1) << end) - (uint64_t(1) << begin);
}

// sums[j] += the taps of one row, for J outputs; the first one's first tap is at `start`, which may be before the row.
// `valid` has a bit for each column that exists; all do if !Edge.
template <class T, int K, int S, int J, bool Edge>
inline void add_row(const T* row, int64_t start, int64_t channels, const float* weights, Vec (&sums)[J],
                    uint64_t valid) {
  Vec taps[K];
#pragma GCC unroll 8
  for (int t = 0; t < K; ++t) taps[t] = load(weights + t * kLanes);
#pragma GCC unroll 32
  for (int p = 0; p < (J - 1) * S + K; ++p) {
    if (Edge && !(valid >> p & 1)) continue;
    const Vec value = load(row + (start + p * channels));
#pragma GCC unroll 8
    for (int t = 0; t < K; ++t)
      if (p >= t && (p - t) % S == 0 && (p - t) / S < J) sums[(p - t) / S] += value * taps[t];
  }
}

// The same for any number of taps and any step.
template <class T, int J>
inline void add_row_any(const T* row, int64_t start, int64_t channels, const float* weights, Vec (&sums)[J], int taps,
                        int step, int column, int width) {
  for (int t = 0; t < taps; ++t) {
    const Vec weight = load(weights + t * kLanes);
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) {
      const int p = j * step + t;
      if (column + p >= 0 && column + p < width) sums[j] += load(row + (start + p * channels)) * weight;
    }
  }
}

// Writes activated sums. Not part of `tile`, of which there are many: to write from memory takes little of its time.
template <class T>
[[gnu::noinline]] void write_activated(const Vec* sums, int count, Activation activation, T* out, int64_t out_step) {
  with_activation(activation, [=](auto activation) {
    for (int i = 0; i < count; ++i) store(out + i * out_step, activate<activation>(sums[i]));
  });
}

// Outputs [j, j + J) of a line, for all channels. K 0: any number of taps.
template <class T, int K, int S, int J, bool Edge>
void tile(const Line& line, const std::vector<SourceRow<T>>& rows, int kernel_height, int channels, int j, int end,
          const float* bias, Activation activation, T* out) {
  const int column = j * line.step + line.shift;
  const int64_t start = int64_t(column) * channels;
  const uint64_t valid = Edge && K ? valid_columns(column, (J - 1) * S + K, line.width) : 0;
  const int count = std::min(J, end - j);
  const int64_t out_step = int64_t(line.out_step) * channels;
  out += (int64_t(line.first) + int64_t(j) * line.out_step) * channels;
  for (int v = 0; v < num_vectors(channels); ++v) {
    const int o = vector_offset(v, channels);
    // So little work that writing would have to wait for the memory.
    for (int i = 0; i < J; ++i) __builtin_prefetch(out + i * out_step + o, 1);
    const float* weights = line.weights + int64_t(v) * kernel_height * line.taps * kLanes;
    Vec sums[J];
    const Vec first = bias ? load(bias + o) : Vec{};
#pragma GCC unroll 8
    for (int i = 0; i < J; ++i) sums[i] = first;
    for (const auto& row : rows) {
      const float* row_weights = weights + int64_t(row.kernel_row) * line.taps * kLanes;
      if (K) add_row<T, K ? K : 1, S, J, Edge>(row.pixels, start + o, channels, row_weights, sums, valid);
      else
        add_row_any<T, J>(row.pixels, start + o, channels, row_weights, sums, line.taps, line.step, column, line.width);
    }
    if (activation != Activation::kNone) {
      write_activated(sums, count, activation, out + o, out_step);
      continue;
    }
#pragma GCC unroll 8
    for (int i = 0; i < J; ++i)
      if (i < count) store(out + i * out_step + o, sums[i]);
  }
}

template <class T, int K, int S, int J>
void tiles(const Line& line, const std::vector<SourceRow<T>>& rows, int kernel_height, int channels, const float* bias,
           Activation activation, T* out, int begin, int end) {
  for (int j = begin; j < end; j += J) {
    const int column = j * line.step + line.shift;
    const bool inner = column >= 0 && column + (J - 1) * S + K <= line.width;
    if (K && inner) tile<T, K, S, J, false>(line, rows, kernel_height, channels, j, end, bias, activation, out);
    else tile<T, K, S, J, true>(line, rows, kernel_height, channels, j, end, bias, activation, out);
  }
}

template <class T, int K, int S>
void run_tiles(const Line& line, const std::vector<SourceRow<T>>& rows, int kernel_height, int channels,
               const float* bias, Activation activation, T* out, int begin, int end) {
  // As few outputs as possible are computed beyond the end of the row.
  int best = 8;
  for (int width : {8, 7, 4})
    if ((end - begin + width - 1) / width * (width + 1) < (end - begin + best - 1) / best * (best + 1)) best = width;
  if (best == 8) tiles<T, K, S, 8>(line, rows, kernel_height, channels, bias, activation, out, begin, end);
  else if (best == 7) tiles<T, K, S, 7>(line, rows, kernel_height, channels, bias, activation, out, begin, end);
  else tiles<T, K, S, 4>(line, rows, kernel_height, channels, bias, activation, out, begin, end);
}

using Unrolled = TapsList<Taps<1, 1>, Taps<2, 1>, Taps<3, 1>, Taps<4, 1>, Taps<5, 1>, Taps<7, 1>, Taps<3, 2>,
                          Taps<5, 2>, Taps<7, 2>>;

template <class T>
void run(const Line& line, const std::vector<SourceRow<T>>& rows, int kernel_height, int channels, const float* bias,
         Activation activation, T* out, int begin, int end) {
  auto run_known = [&](auto taps) {
    using Known = decltype(taps);
    run_tiles<T, Known::count, Known::stride>(line, rows, kernel_height, channels, bias, activation, out, begin, end);
  };
  with_taps(Unrolled(), line.taps, line.step, run_known, [&] { run_known(Taps<0, 1>()); });
}

// Copies of the weights, in the order in which the lines read them. `lines` gets its pointers.
void pack_weights(const Depthwise& d, const float* kernel, std::vector<Line>& lines) {
  const int count = num_vectors(d.channels);
  int64_t size = 0;
  for (const auto& line : lines) size += int64_t(count) * d.kernel_height * line.taps * kLanes;
  float* to = scratch(kShared, size);
  for (auto& line : lines) {
    line.weights = to;
    for (int v = 0; v < count; ++v)
      for (int ky = 0; ky < d.kernel_height; ++ky)
        for (int kx : line.columns) {
          store(to, load(kernel + (int64_t(ky) * d.kernel_width + kx) * d.channels + vector_offset(v, d.channels)));
          to += kLanes;
        }
  }
}

// Rows of the outputs, a few for each task; `list_source_rows` lists those that one reads.
template <class T, class ListSourceRows>
void convolve_rows(const Depthwise& d, const std::vector<Line>& lines, int out_height, int64_t out_row,
                   const float* bias, Activation activation, T* out, const Parallel& parallel,
                   ListSourceRows list_source_rows) {
  const int64_t rows = d.batch * out_height;
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  const int columns_in_turn =
      lines.size() == 1 ? lines[0].count : 8;  // several lines write neighbouring pixels, in turn
  parallel.run(tasks, [&](int64_t task) {
    std::vector<SourceRow<T>> source_rows;
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      source_rows.clear();
      list_source_rows(row / out_height, int(row % out_height), source_rows);
      for (int begin = 0; begin < lines[0].count; begin += columns_in_turn)
        for (const auto& line : lines)
          run(line, source_rows, d.kernel_height, d.channels, bias, activation, out + row * out_row, begin,
              std::min(begin + columns_in_turn, line.count));
    }
  });
}

}  // namespace

template <class T>
void depthwise(const Depthwise& d, const T* x, const float* kernel, const float* bias, T* y, Activation activation,
               const Parallel& parallel) {
  std::vector<Line> lines = {{d.out_width, 0, 1, d.stride_width, -d.pad_left, d.kernel_width, d.width, nullptr, {}}};
  for (int kx = 0; kx < d.kernel_width; ++kx) lines[0].columns.push_back(kx);
  pack_weights(d, kernel, lines);
  auto list_source_rows = [&](int64_t image, int out_y, std::vector<SourceRow<T>>& source_rows) {
    for (int ky = 0; ky < d.kernel_height; ++ky) {
      const int in_y = out_y * d.stride_height + ky - d.pad_top;
      if (in_y >= 0 && in_y < d.height)
        source_rows.push_back({x + (image * d.height + in_y) * d.width * int64_t(d.channels), ky});
    }
  };
  convolve_rows<T>(d, lines, d.out_height, d.out_width * int64_t(d.channels), bias, activation, y, parallel,
                   list_source_rows);
}

template <class T>
void depthwise_input_gradient(const Depthwise& d, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  // Columns that are equal modulo the stride see the same taps: one line for each remainder.
  std::vector<Line> lines;
  for (int first = 0; first < std::min(d.stride_width, d.width); ++first) {
    Line line = {(d.width - first + d.stride_width - 1) / d.stride_width,
                 first,
                 d.stride_width,
                 1,
                 0,
                 0,
                 d.out_width,
                 nullptr,
                 {}};
    for (int kx = d.kernel_width - 1; kx >= 0; --kx) {
      const int dilated_column = first + d.pad_left - kx;
      if (dilated_column - floor_div(dilated_column, d.stride_width) * d.stride_width) continue;
      if (line.columns.empty()) line.shift = floor_div(dilated_column, d.stride_width);
      line.columns.push_back(kx);
    }
    line.taps = int(line.columns.size());
    lines.push_back(line);
  }
  pack_weights(d, kernel, lines);
  auto list_source_rows = [&](int64_t image, int in_y, std::vector<SourceRow<T>>& source_rows) {
    for (int ky = 0; ky < d.kernel_height; ++ky) {
      const int dilated_row = in_y + d.pad_top - ky;
      if (dilated_row >= 0 && dilated_row % d.stride_height == 0 && dilated_row / d.stride_height < d.out_height)
        source_rows.push_back(
            {dy + (image * d.out_height + dilated_row / d.stride_height) * d.out_width * int64_t(d.channels), ky});
    }
  };
  convolve_rows<T>(d, lines, d.height, d.width * int64_t(d.channels), nullptr, Activation::kNone, dx, parallel,
                   list_source_rows);
}

#define BLOCKS_INSTANTIATE(T)                                                                                          \
  template void depthwise<T>(const Depthwise&, const T*, const float*, const float*, T*, Activation, const Parallel&); \
  template void depthwise_input_gradient<T>(const Depthwise&, const T*, const float*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
