// Vectors of the widest kind that the compiler's target has, bfloat16, and activations. Written with the vector
// extensions of GCC and Clang, so that one source serves AVX-512, AVX2, SSE and NEON.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace blocks {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kTileRows =
    14;  // of a matrix product: 14 x 2 accumulators, two vectors and a broadcast fill 32 registers
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kTileRows = 6;
#else
constexpr int kLanes = 4;
constexpr int kTileRows = 6;
#endif

constexpr int64_t kCacheLine = 64;  // bytes

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef uint32_t Bits __attribute__((vector_size(kLanes * 4)));
typedef uint16_t Bf16Bits __attribute__((vector_size(kLanes * 2)));

// Channels are taken kLanes at a time; the last vector of a row overlaps the one before it, so each has an offset.
// Fewer channels are the first lanes of one vector.
inline int num_vectors(int channels) { return (channels + kLanes - 1) / kLanes; }
inline int vector_offset(int vector, int channels) {
  return vector * kLanes < channels - kLanes ? vector * kLanes : std::max(0, channels - kLanes);
}

inline Vec splat(float value) { return value - Vec{}; }  // minus zero, not plus: the compiler sees through it

inline Vec load(const float* from) {
  Vec value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline Vec bf16_to_float(Bf16Bits bits) { return (Vec)(__builtin_convertvector(bits, Bits) << 16); }

inline Vec load(const bf16* from) {
  Bf16Bits bits;
  std::memcpy(&bits, from, sizeof bits);
  return bf16_to_float(bits);
}

inline void store(float* to, Vec value) { std::memcpy(to, &value, sizeof value); }

inline void store(bf16* to, Vec value) {
#if defined(__AVX512BF16__) && defined(__AVX512VL__)
  __m256bh rounded = _mm512_cvtneps_pbh((__m512)value);
  std::memcpy(to, &rounded, sizeof rounded);
#else
  Bits bits = (Bits)value;
  Bits even = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Bits result = ((bits & 0x7fffffff) > 0x7f800000) ? (bits >> 16) | 0x40 : even;  // not a number stays one
  Bf16Bits rounded = __builtin_convertvector(result, Bf16Bits);
  std::memcpy(to, &rounded, sizeof rounded);
#endif
}

// What matrix products multiply where the images are of type T: floats, or bfloat16 where the processor has its dot
// products.
#if defined(__AVX512BF16__)
template <class T>
using Factor = T;
#else
template <class T>
using Factor = float;
#endif

// The first, or the second, halves of two vectors, one entry of each in turn.
template <bool Second>
inline Vec interleave(Vec a, Vec b) {
  Bits index;
  for (int i = 0; i < kLanes; ++i) index[i] = (Second ? kLanes / 2 : 0) + i / 2 + i % 2 * kLanes;
#if defined(__clang__)
  Vec result;
  for (int i = 0; i < kLanes; ++i) result[i] = index[i] < kLanes ? a[index[i]] : b[index[i] - kLanes];
  return result;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

// Entry j of vector i becomes entry i of vector j.
inline void transpose(Vec* vectors) {
  for (int stage = 1; stage < kLanes; stage *= 2) {
    Vec next[kLanes];
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = interleave<false>(vectors[i], vectors[i + kLanes / 2]);
      next[2 * i + 1] = interleave<true>(vectors[i], vectors[i + kLanes / 2]);
    }
    for (int i = 0; i < kLanes; ++i) vectors[i] = next[i];
  }
}

inline float scalar(float value) { return value; }
inline float scalar(bf16 value) {
  uint32_t bits = uint32_t(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

// The first `count` values, fewer than kLanes: the tail of a row.
#if defined(__AVX512BW__) && defined(__AVX512VL__)
inline Vec load_tail(const float* from, int count) {
  return (Vec)_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), from);
}
inline Vec load_tail(const bf16* from, int count) {
  return bf16_to_float((Bf16Bits)_mm256_maskz_loadu_epi16(__mmask16((1u << count) - 1), from));
}
inline void store_tail(float* to, Vec value, int count) {
  _mm512_mask_storeu_ps(to, __mmask16((1u << count) - 1), (__m512)value);
}
inline void store_tail(bf16* to, Vec value, int count) {
  bf16 buffer[kLanes];
  store(buffer, value);
  _mm256_mask_storeu_epi16(to, __mmask16((1u << count) - 1), _mm256_loadu_si256((const __m256i*)buffer));
}
#else
template <class T>
inline Vec load_tail(const T* from, int count) {
  if (count < 0 || count > kLanes) __builtin_unreachable();  // or GCC would warn of what it takes for possible
  T buffer[kLanes] = {};
  std::memcpy(buffer, from, count * sizeof(T));
  return load(buffer);
}
template <class T>
inline void store_tail(T* to, Vec value, int count) {
  if (count < 0 || count > kLanes) __builtin_unreachable();
  T buffer[kLanes];
  store(buffer, value);
  std::memcpy(to, buffer, count * sizeof(T));
}
#endif

inline Vec min(Vec a, Vec b) { return a < b ? a : b; }
inline Vec max(Vec a, Vec b) { return a < b ? b : a; }

// e^x, to 2 units in the last place, from 2^n * e^r with r in [-ln2 / 2, ln2 / 2] and Taylor's series of degree 6.
inline Vec exponential(Vec x) {
  x = min(max(x, splat(-87.0f)), splat(88.0f));
  Vec scaled = x * 1.44269504f;
  Vec whole = (scaled + 12582912.0f) - 12582912.0f;  // 1.5 * 2^23 rounds to the nearest integer
  Vec rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Vec sum = splat(1.0f / 720) * rest + 1.0f / 120;
  sum = sum * rest + 1.0f / 24;
  sum = sum * rest + 1.0f / 6;
  sum = sum * rest + 0.5f;
  sum = sum * rest + 1.0f;
  sum = sum * rest + 1.0f;
  typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));
  Ints power = (__builtin_convertvector(whole, Ints) + 127) << 23;
  return sum * (Vec)power;
}

// The distribution function of the standard normal distribution at z. Its upper tail beyond |z| is e^(-z^2 / 2) t P(t)
// with t = 1 / (1 + 0.3 |z|); P, fitted on [0, 13], is off by 1.3e-7 of the tail at most.
struct Normal {
  Vec distribution, density;
};

inline Normal normal(Vec z) {
  const Vec kernel = exponential(z * z * -0.5f);
  const Vec t = splat(1.0f) / ((z < 0 ? -z : z) * 0.3f + 1.0f);
  Vec tail = t * 0.0360890552f - 0.158934563f;
  tail = tail * t + 0.209347725f;
  tail = tail * t - 0.0564512238f;
  tail = tail * t + 0.130033165f;
  tail = tail * t + 0.0994649082f;
  tail = tail * t + 0.120826334f;
  tail = tail * t + 0.11962454f;
  tail *= t * kernel;
  return {z < 0 ? tail : splat(1.0f) - tail, kernel * 0.398942280f};  // 1 / sqrt(2 pi)
}

template <Activation A>
inline Vec activate(Vec z) {
  const Vec zero = {};
  if (A == Activation::kRelu) return z < 0 ? zero : z;  // written so that not-a-number stays one
  if (A == Activation::kRelu6) {
    z = z < 0 ? zero : z;
    return z > 6 ? splat(6.0f) : z;
  }
  if (A == Activation::kHardSilu) {
    Vec gate = z + 3.0f;
    gate = gate < 0 ? zero : gate;
    gate = gate > 6 ? splat(6.0f) : gate;
    return z * gate * (1.0f / 6);
  }
  if (A == Activation::kSilu) return z / (exponential(-z) + 1.0f);
  if (A == Activation::kGelu) return z * normal(z).distribution;
  return z;
}

// The gradient of the activation at z, times that of its output.
template <Activation A>
inline Vec activate_gradient(Vec z, Vec gradient) {
  const Vec zero = {};
  if (A == Activation::kRelu) return z > 0 ? gradient : zero;
  if (A == Activation::kRelu6) return (z > 0) & (z < 6) ? gradient : zero;
  if (A == Activation::kHardSilu) {
    Vec inner = gradient * (z * (1.0f / 3) + 0.5f);
    inner = z < -3 ? zero : inner;
    return z > 3 ? gradient : inner;
  }
  if (A == Activation::kSilu) {
    Vec gate = splat(1.0f) / (exponential(-z) + 1.0f);
    return gradient * gate * ((z - z * gate) + 1.0f);
  }
  if (A == Activation::kGelu) {
    const Normal at = normal(z);
    return gradient * (at.distribution + z * at.density);
  }
  return gradient;
}

// Calls `body` with the activation as a constant of the compiler's, so that it is compiled into the loop.
template <class Body>
inline void with_activation(Activation activation, Body body) {
  switch (activation) {
    case Activation::kNone: return body(std::integral_constant<Activation, Activation::kNone>());
    case Activation::kRelu: return body(std::integral_constant<Activation, Activation::kRelu>());
    case Activation::kRelu6: return body(std::integral_constant<Activation, Activation::kRelu6>());
    case Activation::kHardSilu: return body(std::integral_constant<Activation, Activation::kHardSilu>());
    case Activation::kSilu: return body(std::integral_constant<Activation, Activation::kSilu>());
    case Activation::kGelu: return body(std::integral_constant<Activation, Activation::kGelu>());
  }
}

}  // namespace blocks
