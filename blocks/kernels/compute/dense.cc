// Spatial convolution of one group, as matrix products.
//
// What an output sees of one row of the inputs lies in one piece there, and that of its right neighbour a stride
// further on. So a tile of neighbouring outputs sums up one stretch for each row of the kernel, read in place from
// rows that were copied as floats with the padding's zeros beside them.
#include <algorithm>
#include <vector>

#include "rows.h"

namespace blocks {
namespace {

constexpr int64_t kCopied = 1 << 15;  // floats of input rows that a piece has at most, or one row's window
constexpr int kPositions = 128;       // whose gradients stay in the first-level cache

const Parallel kAlone = {1, [](int64_t tasks, const std::function<void(int64_t)>& run) {
                           for (int64_t task = 0; task < tasks; ++task) run(task);
                         }};

// Images are taken in pieces of a few rows of outputs.
struct Pieces {
  int wide, depth;    // floats of a row of the kernel, and of all of it, for one output
  int64_t row, step;  // floats of a copied row, and from what one output sees of it to what the next does
  int each, rows;     // pieces of an image, and output rows of a piece
  int64_t count;

  Pieces(const Spatial& s, int threads)
      : wide(s.kernel_width * s.inputs),
        depth(s.kernel_height * wide),
        row(int64_t((s.out_width - 1) * s.stride_width + s.kernel_width) * s.inputs),
        step(int64_t(s.stride_width) * s.inputs) {
    const int64_t fit = (kCopied / row - s.kernel_height) / s.stride_height + 1;
    const int64_t share = std::max<int64_t>(1, s.batch * s.out_height / (threads * 4));
    rows = int(std::max<int64_t>(1, std::min({fit, share, int64_t(s.out_height)})));
    each = (s.out_height + rows - 1) / rows;
    count = s.batch * each;
  }
};

// Entries of one type as those of another.
template <class From, class To>
void copy(const From* from, int64_t count, To* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i < count) store_some(to + i, load_some(from + i, int(count - i)), int(count - i));
}

// One piece, its input rows copied into the calling thread's memory.
struct Piece {
  const Spatial& s;
  const Pieces& pieces;
  int64_t image;
  int top, bottom;    // rows of outputs
  int lowest, above;  // rows of inputs that they meet: from `lowest` to before `above`
  float* copied;

  static int64_t floats(const Spatial& s, const Pieces& p) {
    return ((p.rows - 1) * int64_t(s.stride_height) + s.kernel_height) * p.row;
  }

  template <class T>
  Piece(const Spatial& s_, const Pieces& p, const T* x, int64_t number, float* to)
      : s(s_), pieces(p), image(number / p.each), top(int(number % p.each) * p.rows), copied(to) {
    bottom = std::min(top + p.rows, s.out_height);
    lowest = std::min(s.height, std::max(0, top * s.stride_height - s.top));
    above = std::max(lowest, std::min(s.height, (bottom - 1) * s.stride_height - s.top + s.kernel_height));
    const int64_t before = std::min(p.row, int64_t(s.left) * s.inputs);
    const int64_t some = std::min(p.row - before, int64_t(s.width) * s.inputs);
    for (int y = lowest; y < above; ++y, to += p.row) {
      std::memset(to, 0, sizeof(float) * before);
      copy(x + (image * s.height + y) * s.width * s.inputs, some, to + before);
      std::memset(to + before + some, 0, sizeof(float) * (p.row - before - some));
    }
  }

  // What output row y meets in row ky of the kernel; null where that is padding.
  const float* met(int y, int ky) const {
    const int at = y * s.stride_height + ky - s.top;
    return at < lowest || at >= above ? nullptr : copied + (at - lowest) * pieces.row;
  }
};

// image += what the products hold of each pixel: those of output row `out_row`, (out_width, depth).
void scatter(const Spatial& s, const Pieces& p, const float* products, int out_row, float* image) {
  for (int ky = 0; ky < s.kernel_height; ++ky) {
    const int row = out_row * s.stride_height + ky - s.top;
    if (row < 0 || row >= s.height) continue;
    for (int c = 0; c < s.out_width; ++c) {
      const int start = c * s.stride_width - s.left;
      const int begin = std::max(0, -start), end = std::min(s.kernel_width, s.width - start);
      const float* from = products + int64_t(c) * p.depth + ky * p.wide;
      float* to = image + (int64_t(row) * s.width + start) * s.inputs;
      for (int i = begin * s.inputs; i < end * s.inputs; i += kLanes) {
        const int some = std::min(kLanes, end * s.inputs - i);
        store_some(to + i, load_some(to + i, some) + load_some(from + i, some), some);
      }
    }
  }
}

}  // namespace

template <class T>
void dense(const Spatial& s, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
           Activation activation, const Parallel& parallel) {
  const Pieces p(s, parallel.threads);
  const int64_t panel_size = int64_t(p.depth) * kColumns;
  const int count = panels(s.outputs);
  float* packed = scratch(kShared, count * panel_size);
  for (int i = 0; i < count; ++i) pack(kernel, p.depth, s.outputs, s.outputs, 1, i * kColumns, packed + i * panel_size);
  parallel.run(p.count, [&](int64_t number) {
    const Piece piece(s, p, x, number, scratch(0, Piece::floats(s, p)));
    std::vector<Stretch> stretches(s.kernel_height);
    for (int i = 0; i < count; ++i)
      for (int row = piece.top; row < piece.bottom; ++row) {
        int some = 0;
        for (int ky = 0; ky < s.kernel_height; ++ky)
          if (const float* met = piece.met(row, ky))
            stretches[some++] = {met, packed + i * panel_size + int64_t(ky) * p.wide * kColumns};
        const int64_t start = (piece.image * s.out_height + row) * s.out_width * s.outputs;
        rows_of_panel<T>({stretches.data(), some, p.wide, p.step, 1, kColumns},
                         std::min(kColumns, s.outputs - i * kColumns), y + start + i * kColumns, s.outputs, s.out_width,
                         {bias, residual ? residual + start : nullptr, s.outputs}, i * kColumns, activation);
      }
  });
}

template <class T>
void dense_input_gradient(const Spatial& s, const T* dy, const float* kernel, T* dx, const Parallel& parallel) {
  const int above = s.kernel_height - 1 - s.top, before = s.kernel_width - 1 - s.left;
  const bool unstrided = s.stride_height == 1 && s.stride_width == 1;
  if (unstrided && above >= 0 && before >= 0 && 2 * s.inputs >= kLanes) {  // a convolution like the forward one
    const int64_t taps = int64_t(s.kernel_height) * s.kernel_width;
    std::vector<float> turned(taps * s.inputs * s.outputs);
    parallel.run(taps, [&](int64_t tap) {
      const float* from = kernel + (taps - 1 - tap) * s.inputs * s.outputs;
      for (int o = 0; o < s.outputs; ++o)
        for (int i = 0; i < s.inputs; ++i)
          turned[(tap * s.outputs + o) * s.inputs + i] = from[int64_t(i) * s.outputs + o];
    });
    return dense<T>({s.batch, s.out_height, s.out_width, 1, s.outputs, s.inputs, s.kernel_height, s.kernel_width, 1, 1,
                     above, before, s.height, s.width},
                    dy, turned.data(), nullptr, nullptr, dx, Activation::kNone, parallel);
  }
  const Pieces p(s, parallel.threads);
  std::vector<float> transposed(int64_t(p.depth) * s.outputs);  // once, not at every product
  for (int64_t k = 0; k < p.depth; ++k)
    for (int64_t c = 0; c < s.outputs; ++c) transposed[c * p.depth + k] = kernel[k * s.outputs + c];
  const int64_t size = int64_t(s.height) * s.width * s.inputs, row = int64_t(s.out_width) * s.outputs;
  const int at_once = (kPositions + s.out_width - 1) / s.out_width;
  parallel.run(s.batch, [&](int64_t image) {
    float* products = scratch(0, at_once * (int64_t(s.out_width) * p.depth + row) + size);
    float *room = products + at_once * int64_t(s.out_width) * p.depth, *sum = room + at_once * row;
    std::memset(sum, 0, sizeof(float) * size);
    for (int begin = 0; begin < s.out_height; begin += at_once) {
      const int rows = std::min(at_once, s.out_height - begin);
      copy(dy + (image * s.out_height + begin) * row, rows * row, room);
      pointwise<float>({int64_t(rows) * s.out_width, 1, s.outputs, p.depth}, room, transposed.data(), nullptr, nullptr,
                       products, Activation::kNone, kAlone);
      for (int i = 0; i < rows; ++i) scatter(s, p, products + int64_t(i) * s.out_width * p.depth, begin + i, sum);
    }
    copy(sum, size, dx + image * size);
  });
}

template <class T>
void dense_filter_gradient(const Spatial& s, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  const Pieces p(s, parallel.threads);
  const int64_t width = int64_t(panels(s.outputs)) * kColumns, size = p.depth * width;  // of the totals
  const int64_t dy_row = int64_t(s.out_width) * s.outputs;
  const int at_once = std::max(1, kPositions / s.out_width), step = even_rows(p.wide);
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(parallel.threads, p.count));
  std::vector<float> totals(tasks * size);
  parallel.run(tasks, [&](int64_t task) {
    float* total = totals.data() + task * size;
    std::vector<Stretch> stretches(at_once);
    float* panel = scratch(1, int64_t(at_once) * s.out_width * kColumns);
    for (int64_t number = p.count * task / tasks; number < p.count * (task + 1) / tasks; ++number) {
      const Piece piece(s, p, x, number, scratch(0, Piece::floats(s, p)));
      for (int top = piece.top; top < piece.bottom; top += at_once) {
        const int bottom = std::min(top + at_once, piece.bottom);
        const T* gradients = dy + (piece.image * s.out_height + top) * dy_row;
        const float* direct = s.outputs % kLanes ? nullptr : as_is(gradients);  // else a copy of each panel
        for (int c = 0; c < s.outputs; c += kColumns) {
          if (!direct) pack(gradients, int64_t(bottom - top) * s.out_width, s.outputs, s.outputs, 1, c, panel);
          const float* from = direct ? direct + c : panel;
          const int64_t from_row = direct ? s.outputs : kColumns;
          for (int ky = 0; ky < s.kernel_height; ++ky) {
            int some = 0;
            for (int y = top; y < bottom; ++y)
              if (const float* met = piece.met(y, ky))
                stretches[some++] = {met, from + int64_t(y - top) * s.out_width * from_row};
            const Sum sum{stretches.data(), some, s.out_width, 1, p.step, from_row};
            for (int k = 0; k < p.wide && some; k += step) {
              const int rows = std::min(step, p.wide - k);
              (s.outputs - c > kLanes
                   ? tile_of<2, true>
                   : tile_of<1, true>)(rows)(sum, k, total + (int64_t(ky) * p.wide + k) * width + c, width);
            }
          }
        }
      }
    }
  });
  for (int64_t k = 0; k < p.depth; ++k)
    for (int64_t c = 0; c < s.outputs; ++c) {
      float sum = 0;
      for (int64_t task = 0; task < tasks; ++task) sum += totals[task * size + k * width + c];
      d_kernel[k * s.outputs + c] = sum;
    }
}

#define BLOCKS_INSTANTIATE(T)                                                                            \
  template void dense<T>(const Spatial&, const T*, const float*, const float*, const T*, T*, Activation, \
                         const Parallel&);                                                               \
  template void dense_input_gradient<T>(const Spatial&, const T*, const float*, T*, const Parallel&);    \
  template void dense_filter_gradient<T>(const Spatial&, const T*, const T*, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)

}  // namespace blocks
