// Maxima and averages over windows of the images, and their gradients; nothing is padded beforehand.
#include "simd.h"

namespace blocks {
namespace {

typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

// All bits in the lanes whose index is this tap; else none.
inline Bits is_tap(const uint8_t* from, uint32_t tap) {
  Bytes bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  const Bf16Bits wide = __builtin_convertvector(bytes, Bf16Bits);  // in two steps, each of which is an instruction
  return (Bits)(__builtin_convertvector(wide, Bits) == tap + Bits{});
}

inline Vec select(Bits mask, Vec yes, Vec no) { return (Vec)((mask & (Bits)yes) | (~mask & (Bits)no)); }

// A pixel on the other side of a window: where its channels begin, and which tap it is.
struct WindowTap {
  int64_t offset;
  uint32_t index;
};

// The images' pixels in the window of an output.
int list_inputs(const Pooling& p, int64_t image, int row, int column, WindowTap* taps) {
  const int top = row * p.stride_height - p.pad_top, left = column * p.stride_width - p.pad_left;
  const int bottom = std::min(p.window_height, p.height - top), right = std::min(p.window_width, p.width - left);
  int count = 0;
  for (int i = std::max(0, -top); i < bottom; ++i)
    for (int j = std::max(0, -left); j < right; ++j)
      taps[count++] = {((image * p.height + top + i) * p.width + left + j) * p.channels,
                       uint32_t(i * p.window_width + j)};
  return count;
}

// The outputs, along one axis, whose window holds each pixel of it.
struct Range {
  int begin, end;
};

std::vector<Range> outputs_along(int size, int before, int window, int stride, int count) {
  std::vector<Range> ranges;
  for (int at = before; at < size + before; ++at)
    ranges.push_back({at < window ? 0 : (at - window) / stride + 1, std::min(count, at / stride + 1)});
  return ranges;
}

// The outputs whose window holds a pixel of the images.
int list_outputs(const Pooling& p, int64_t image, int row, int column, Range down, Range across, WindowTap* taps) {
  int count = 0;
  for (int i = down.begin; i < down.end; ++i)
    for (int j = across.begin; j < across.end; ++j)
      taps[count++] = {((image * p.out_height + i) * p.out_width + j) * p.channels,
                       uint32_t((row + p.pad_top - i * p.stride_height) * p.window_width + column + p.pad_left -
                                j * p.stride_width)};
  return count;
}

template <class T, Pool kPool>
void pool_row(const Pooling& p, int64_t image, int row, const T* x, uint8_t* argmax, T* y) {
  const Vec share = splat(1.0f / float(p.window_height * p.window_width));
  WindowTap taps[kMaxWindowTaps];
  for (int column = 0; column < p.out_width; ++column) {
    const int count = list_inputs(p, image, row, column, taps);
    const int64_t to = ((image * p.out_height + row) * p.out_width + column) * p.channels;
    for (int v = 0; v < num_vectors(p.channels); ++v) {
      const int offset = vector_offset(v, p.channels);
      Vec result = Vec{};
      Bits best{};
      for (int i = 0; i < count; ++i) {
        const Vec value = load(x + taps[i].offset + offset);
        if (kPool == Pool::kAverage) result += value;
        if (kPool == Pool::kGather) result = select(is_tap(argmax + to + offset, taps[i].index), value, result);
        if (kPool == Pool::kMax) {
          // The first of equal values, as elsewhere; what is not a number wins.
          const Bits better = i == 0 ? ~Bits{} : (Bits)(value > result) | (Bits)(value != value);
          result = select(better, value, result);
          best = (better & (taps[i].index + Bits{})) | (~better & best);
        }
      }
      store(y + to + offset, kPool == Pool::kAverage ? result * share : result);
      if (kPool == Pool::kMax) {
        const Bytes bytes = __builtin_convertvector(best, Bytes);
        std::memcpy(argmax + to + offset, &bytes, sizeof bytes);
      }
    }
  }
}

template <class T, bool kAverage>
void gradient_row(const Pooling& p, int64_t image, int row, Range down, const std::vector<Range>& across, const T* dy,
                  const uint8_t* argmax, T* dx) {
  const Vec share = splat(1.0f / float(p.window_height * p.window_width));
  WindowTap taps[kMaxWindowTaps];
  for (int column = 0; column < p.width; ++column) {
    const int count = list_outputs(p, image, row, column, down, across[column], taps);
    T* to = dx + ((image * p.height + row) * p.width + column) * p.channels;
    for (int v = 0; v < num_vectors(p.channels); ++v) {
      const int offset = vector_offset(v, p.channels);
      Vec sum = Vec{};
      for (int i = 0; i < count; ++i) {
        const int64_t from = taps[i].offset + offset;
        const Vec value = load(dy + from);
        sum += kAverage ? value : (Vec)(is_tap(argmax + from, taps[i].index) & (Bits)value);
      }
      store(to + offset, kAverage ? sum * share : sum);
    }
  }
}

// Calls run(image, row) for `height` rows of each image.
void each_row(const Pooling& p, int height, const Parallel& parallel, const std::function<void(int64_t, int)>& run) {
  const int64_t rows = p.batch * height, tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row)
      run(row / height, int(row % height));
  });
}

}  // namespace

template <class T>
void pool(const Pooling& p, Pool kind, const T* x, uint8_t* argmax, T* y, const Parallel& parallel) {
  const auto run = kind == Pool::kMax      ? pool_row<T, Pool::kMax>
                   : kind == Pool::kGather ? pool_row<T, Pool::kGather>
                                           : pool_row<T, Pool::kAverage>;
  each_row(p, p.out_height, parallel, [&](int64_t image, int row) { run(p, image, row, x, argmax, y); });
}

template <class T>
void pool_gradient(const Pooling& p, Pool kind, const T* dy, const uint8_t* argmax, T* dx, const Parallel& parallel) {
  const auto run = kind == Pool::kAverage ? gradient_row<T, true> : gradient_row<T, false>;
  const auto down = outputs_along(p.height, p.pad_top, p.window_height, p.stride_height, p.out_height);
  const auto across = outputs_along(p.width, p.pad_left, p.window_width, p.stride_width, p.out_width);
  each_row(p, p.height, parallel,
           [&](int64_t image, int row) { run(p, image, row, down[row], across, dy, argmax, dx); });
}

#define BLOCKS_INSTANTIATE(T)                                                           \
  template void pool<T>(const Pooling&, Pool, const T*, uint8_t*, T*, const Parallel&); \
  template void pool_gradient<T>(const Pooling&, Pool, const T*, const uint8_t*, T*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
