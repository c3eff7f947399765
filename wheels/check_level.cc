// Every kernel of a level against plain loops in double precision, without TensorFlow: for processors that are
// emulated, where Python's tests would take hours. Its argument is the level's name; it prints what differs, and
// counts.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../blocks/kernels/dispatch/levels.h"

using namespace blocks;

namespace {

int failures = 0, comparisons = 0;
std::mt19937 generator(1);

const Parallel kInTurn = {3, [](int64_t tasks, const std::function<void(int64_t)>& run) {
                            for (int64_t task = 0; task < tasks; ++task) run(task);
                          }};

float as_float(float value) { return value; }
float as_float(bf16 value) {
  const uint32_t bits = uint32_t(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

template <class T>
std::vector<T> drawn(int64_t count) {
  std::vector<T> values(count);
  for (auto& value : values) {
    const float number = std::uniform_real_distribution<float>(-1, 1)(generator);
    if constexpr (sizeof(T) == 4) value = number;
    else {
      uint32_t bits;
      std::memcpy(&bits, &number, 4);
      value.bits = uint16_t(bits >> 16);
    }
  }
  return values;
}

// Weights as layers of that type have them: floats, of bfloat16 such that it holds.
template <class T>
std::vector<float> drawn_weights(int64_t count) {
  const auto values = drawn<T>(count);
  std::vector<float> weights(count);
  for (int64_t i = 0; i < count; ++i) weights[i] = as_float(values[i]);
  return weights;
}

// Relative to the largest value: half a bit of bfloat16's 8, or sums in another order.
template <class T>
void compare(const std::string& name, const std::vector<T>& actual, const std::vector<double>& expected) {
  const double tolerance = sizeof(T) == 4 ? 3e-5 : 8e-3;
  double largest = 1e-6, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    const double error = std::abs(as_float(actual[i]) - expected[i]);
    difference = std::isfinite(error) ? std::max(difference, error) : INFINITY;
  }
  ++comparisons;
  if (difference <= tolerance * largest) return;
  ++failures;
  std::printf("%s differs by %g of %g\n", name.c_str(), difference, largest);
}

double activated(double z, Activation activation) {
  switch (activation) {
    case Activation::kRelu: return std::max(z, 0.0);
    case Activation::kRelu6: return std::min(std::max(z, 0.0), 6.0);
    case Activation::kHardSilu: return z * std::min(std::max(z + 3, 0.0), 6.0) / 6;
    case Activation::kSilu: return z / (1 + std::exp(-z));
    case Activation::kGelu: return z * std::erfc(-z / std::sqrt(2.0)) / 2;
    default: return z;
  }
}

// Calls `body` with the entries of inputs, kernel and outputs that are multiplied with each other.
template <class Body>
void for_each_product(const Spatial& s, Body body) {
  const int in = s.in_channels_per_group, out = s.out_channels_per_group, inputs = in * s.groups;
  for (int64_t b = 0; b < s.batch; ++b)
    for (int y = 0; y < s.out_height; ++y)
      for (int x = 0; x < s.out_width; ++x)
        for (int ky = 0; ky < s.kernel_height; ++ky)
          for (int kx = 0; kx < s.kernel_width; ++kx) {
            const int row = y * s.stride_height + ky - s.pad_top, column = x * s.stride_width + kx - s.pad_left;
            if (row < 0 || row >= s.height || column < 0 || column >= s.width) continue;
            for (int o = 0; o < out * s.groups; ++o)
              for (int i = 0; i < in; ++i)
                body(((b * s.height + row) * s.width + column) * inputs + o / out * in + i,
                     ((int64_t(ky) * s.kernel_width + kx) * in + i) * out * s.groups + o,
                     ((b * s.out_height + y) * s.out_width + x) * out * s.groups + o);
          }
}

// A convolution by what `forward`, `input_gradient` and `filter_gradient` call, in whatever form they take it.
template <class T, class Forward, class InputGradient, class FilterGradient>
void check_convolution(const std::string& name, const Spatial& s, bool residuals, Forward forward,
                       InputGradient to_inputs, FilterGradient to_filters) {
  const int64_t outputs = int64_t(s.out_channels_per_group) * s.groups;
  const int64_t x_size = s.batch * s.height * s.width * s.in_channels_per_group * s.groups;
  const int64_t y_size = s.batch * s.out_height * s.out_width * outputs;
  const int64_t k_size = int64_t(s.kernel_height) * s.kernel_width * s.in_channels_per_group * outputs;
  const auto x = drawn<T>(x_size), dy = drawn<T>(y_size), residual = drawn<T>(y_size);
  const auto kernel = drawn_weights<T>(k_size), bias = drawn<float>(outputs);
  for (Activation activation :
       {Activation::kNone, Activation::kRelu, Activation::kRelu6, Activation::kHardSilu, Activation::kSilu}) {
    std::vector<double> expected(y_size);
    for (int64_t i = 0; i < y_size; ++i) expected[i] = bias[i % outputs] + (residuals ? as_float(residual[i]) : 0);
    for_each_product(s, [&](int64_t i, int64_t k, int64_t o) { expected[o] += double(as_float(x[i])) * kernel[k]; });
    for (auto& value : expected) value = activated(value, activation);
    std::vector<T> y(y_size);
    forward(x.data(), kernel.data(), bias.data(), residuals ? residual.data() : nullptr, y.data(), activation);
    compare(name + " forward", y, expected);
  }
  std::vector<double> to_x(x_size), to_kernel(k_size);
  for_each_product(s, [&](int64_t i, int64_t k, int64_t o) {
    to_x[i] += double(as_float(dy[o])) * kernel[k];
    to_kernel[k] += double(as_float(dy[o])) * as_float(x[i]);
  });
  std::vector<T> dx(x_size);
  to_inputs(dy.data(), kernel.data(), dx.data());
  compare(name + " input gradient", dx, to_x);
  std::vector<float> d_kernel(k_size);
  to_filters(x.data(), dy.data(), d_kernel.data());
  compare(name + " filter gradient", d_kernel, to_kernel);
}

Spatial sized(int size, int groups, int in, int out, int taps, int stride) {
  const int windows = (size + stride - 1) / stride;
  const int padding = std::max(0, (windows - 1) * stride + taps - size);
  return {2, size, size, groups, in, out, taps, taps, stride, stride, padding / 2, padding / 2, windows, windows};
}

template <class T>
void check_convolutions(const TypedKernels<T>& k, int lanes, const std::string& type) {
  const int shapes[][6] = {{9, 8, 4, 4, 3, 1},  {8, 8, 4, 4, 3, 2},   {7, 4, 8, 8, 3, 1},   {7, 2, 20, 24, 3, 1},
                           {8, 3, 5, 7, 3, 2},  {7, 2, 40, 33, 3, 1}, {9, 4, 8, 8, 5, 1},   {9, 4, 8, 8, 5, 2},
                           {9, 16, 2, 2, 7, 3}, {6, 2, 3, 40, 2, 1},  {7, 3, 16, 32, 3, 2}, {9, 2, 32, 16, 3, 1}};
  for (const auto& c : shapes) {
    const Spatial s = sized(c[0], c[1], c[2], c[3], c[4], c[5]);
    check_convolution<T>(
        type + " spatial", s, true,
        [&](auto x, auto w, auto b, auto r, auto y, Activation a) { k.spatial(s, x, w, b, r, y, a, kInTurn); },
        [&](auto dy, auto w, auto dx) { k.spatial_input_gradient(s, dy, w, dx, kInTurn); },
        [&](auto x, auto dy, auto dw) { k.spatial_filter_gradient(s, x, dy, dw, kInTurn); });
  }
  for (const auto& c : {std::array<int, 6>{11, 1, 3, 32, 3, 2},
                        {9, 1, 19, 37, 3, 1},
                        {8, 1, 32, 64, 5, 1},
                        {12, 1, 3, 8, 7, 4},
                        {5, 1, 160, 300, 3, 2},
                        {4, 8, 64, 64, 3, 1}}) {
    const Spatial s = sized(c[0], c[1], c[2], c[3], c[4], c[5]);
    check_convolution<T>(
        type + " dense", s, true,
        [&](auto x, auto w, auto b, auto r, auto y, Activation a) { k.dense(s, x, w, b, r, y, a, kInTurn); },
        [&](auto dy, auto w, auto dx) { k.dense_input_gradient(s, dy, w, dx, kInTurn); },
        [&](auto x, auto dy, auto dw) { k.dense_filter_gradient(s, x, dy, dw, kInTurn); });
  }
  for (int taps = 1; taps <= 11; ++taps)
    for (int stride = 1; stride <= 3; ++stride) {
      const int channels = lanes + taps;
      const Spatial s = sized(13, channels, 1, 1, taps, stride);
      const Depthwise d = {s.batch, s.height, s.width,   channels,   taps,         taps,
                           stride,  stride,   s.pad_top, s.pad_left, s.out_height, s.out_width};
      check_convolution<T>(
          type + " depthwise " + std::to_string(taps) + "/" + std::to_string(stride), s, false,
          [&](auto x, auto w, auto b, auto, auto y, Activation a) { k.depthwise(d, x, w, b, y, a, kInTurn); },
          [&](auto dy, auto w, auto dx) { k.depthwise_input_gradient(d, dy, w, dx, kInTurn); },
          [&](auto x, auto dy, auto dw) { k.depthwise_filter_gradient(d, x, dy, dw, kInTurn); });
    }
  for (const auto& c : {std::array<int, 3>{1, 40, 70}, {3, 16, 24}, {2, 5, 9}, {1, 64, 128}}) {
    const Spatial s = sized(7, c[0], c[1], c[2], 1, 1);
    const Pointwise p = {s.batch * s.height * s.width, c[0], c[1], c[2]};
    check_convolution<T>(
        type + " pointwise", s, true,
        [&](auto x, auto w, auto b, auto r, auto y, Activation a) { k.pointwise(p, x, w, b, r, y, a, kInTurn); },
        [&](auto dy, auto w, auto dx) { k.pointwise_input_gradient(p, dy, w, dx, kInTurn); },
        [&](auto x, auto dy, auto dw) { k.pointwise_filter_gradient(p, x, dy, dw, kInTurn); });
  }
}

template <class T>
void check_normalisation(const TypedKernels<T>& k, int channels, const std::string& type) {
  const int64_t rows = 61, size = rows * channels;
  const auto x = drawn<T>(size), residual = drawn<T>(size), dy = drawn<T>(size);
  const auto gamma = drawn<float>(channels), beta = drawn<float>(channels);
  std::vector<double> mean(channels), variance(channels), rstd(channels);
  for (int64_t i = 0; i < size; ++i) mean[i % channels] += as_float(x[i]) / double(rows);
  for (int64_t i = 0; i < size; ++i) variance[i % channels] += std::pow(as_float(x[i]) - mean[i % channels], 2) / rows;
  std::vector<float> means(channels), variances(channels), scales(channels);
  k.moments(x.data(), rows, channels, means.data(), variances.data(), kInTurn);
  compare(type + " mean", means, mean);
  compare(type + " variance", variances, variance);
  std::vector<T> y(size), dx(size);
  std::vector<double> expected(size);
  for (int64_t i = 0; i < size; ++i)
    expected[i] = activated(double(as_float(x[i])) * gamma[i % channels] + beta[i % channels] + as_float(residual[i]),
                            Activation::kHardSilu);
  k.affine(x.data(), residual.data(), y.data(), rows, channels, gamma.data(), beta.data(), Activation::kHardSilu,
           kInTurn);
  compare(type + " affine", y, expected);
  // dx = gamma * rstd * (g - mean(g) - n * mean(g * n)), where n is x normalised and g the gradient behind ReLU.
  std::vector<double> n(size), g(size), mean_g(channels), mean_gn(channels), d_gamma(channels), d_beta(channels);
  for (int c = 0; c < channels; ++c)
    means[c] = float(mean[c]), scales[c] = float(rstd[c] = 1 / std::sqrt(variance[c] + 1e-3));
  for (int64_t i = 0; i < size; ++i) {
    const int c = int(i % channels);
    n[i] = (as_float(x[i]) - mean[c]) * rstd[c];
    g[i] = n[i] * gamma[c] + beta[c] > 0 ? as_float(dy[i]) : 0;
    d_beta[c] += g[i], d_gamma[c] += g[i] * n[i];
  }
  for (int64_t i = 0; i < size; ++i) {
    const int c = int(i % channels);
    expected[i] = gamma[c] * rstd[c] * (g[i] - d_beta[c] / rows - n[i] * d_gamma[c] / rows);
  }
  std::vector<float> to_gamma(channels), to_beta(channels);
  k.norm_gradient(dy.data(), x.data(), nullptr, dx.data(), nullptr, rows, channels, means.data(), scales.data(),
                  gamma.data(), beta.data(), to_gamma.data(), to_beta.data(), Activation::kRelu, kInTurn);
  compare(type + " norm gradient", dx, expected);
  compare(type + " gamma's gradient", to_gamma, d_gamma);
  compare(type + " beta's gradient", to_beta, d_beta);
}

template <class T>
void check_affine_gradient(const TypedKernels<T>& k, int channels, const std::string& type) {
  const int64_t rows = 61, size = rows * channels;
  const auto x = drawn<T>(size), dy = drawn<T>(size);
  const auto scale = drawn<float>(channels), offset = drawn<float>(channels);
  std::vector<double> to_x(size), to_scale(channels), to_offset(channels);
  for (int64_t i = 0; i < size; ++i) {
    const int c = int(i % channels);
    const double g = double(as_float(x[i])) * scale[c] + offset[c] > 0 ? as_float(dy[i]) : 0;
    to_x[i] = g * scale[c];
    to_scale[c] += g * as_float(x[i]), to_offset[c] += g;
  }
  std::vector<T> dx(size);
  std::vector<float> d_scale(channels), d_offset(channels);
  k.affine_gradient(dy.data(), x.data(), nullptr, dx.data(), nullptr, rows, channels, scale.data(), offset.data(),
                    d_scale.data(), d_offset.data(), Activation::kRelu, kInTurn);
  compare(type + " affine gradient", dx, to_x);
  compare(type + " scale's gradient", d_scale, to_scale);
  compare(type + " offset's gradient", d_offset, to_offset);
}

// Layer normalisation, activations and biases, of rows of any length.
template <class T>
void check_rows(const TypedKernels<T>& k, int channels, const std::string& type) {
  const int64_t rows = 61, size = rows * channels;
  const auto x = drawn<T>(size), dy = drawn<T>(size);
  const auto gamma = drawn<float>(channels), beta = drawn<float>(channels);
  std::vector<double> mean(rows), variance(rows), rstd(rows), y(size), to_x(size), to_gamma(channels),
      to_beta(channels);
  for (int64_t i = 0; i < size; ++i) mean[i / channels] += as_float(x[i]) / double(channels);
  for (int64_t i = 0; i < size; ++i)
    variance[i / channels] += std::pow(as_float(x[i]) - mean[i / channels], 2) / channels;
  std::vector<double> level(rows), slope(rows);
  for (int64_t row = 0; row < rows; ++row) rstd[row] = 1 / std::sqrt(variance[row] + 1e-3);
  for (int64_t i = 0; i < size; ++i) {
    const int64_t row = i / channels, c = i % channels;
    const double normal = (as_float(x[i]) - mean[row]) * rstd[row], inner = double(as_float(dy[i])) * gamma[c];
    y[i] = normal * gamma[c] + beta[c];
    to_gamma[c] += as_float(dy[i]) * normal, to_beta[c] += as_float(dy[i]);
    level[row] += inner / channels, slope[row] += inner * normal / channels;
  }
  for (int64_t i = 0; i < size; ++i) {
    const int64_t row = i / channels;
    const double normal = (as_float(x[i]) - mean[row]) * rstd[row];
    to_x[i] = rstd[row] * (double(as_float(dy[i])) * gamma[i % channels] - level[row] - normal * slope[row]);
  }
  std::vector<T> out(size), dx(size);
  std::vector<float> means(rows), scales(rows), d_gamma(channels), d_beta(channels), d_bias(channels);
  k.layer_norm(x.data(), out.data(), rows, channels, gamma.data(), beta.data(), 1e-3f, means.data(), scales.data(),
               kInTurn);
  compare(type + " layer normalisation", out, y);
  k.layer_norm_gradient(dy.data(), x.data(), dx.data(), rows, channels, means.data(), scales.data(), gamma.data(),
                        d_gamma.data(), d_beta.data(), kInTurn);
  compare(type + " layer normalisation's gradient", dx, to_x);
  compare(type + " layer normalisation's gamma", d_gamma, to_gamma);
  compare(type + " layer normalisation's beta", d_beta, to_beta);
  k.bias_gradient(dy.data(), rows, channels, d_bias.data(), kInTurn);
  compare(type + " bias gradient", d_bias, to_beta);
  for (int64_t i = 0; i < size; ++i) {
    y[i] = activated(as_float(x[i]), Activation::kGelu);
    to_x[i] = as_float(dy[i]) * (std::erfc(-as_float(x[i]) / std::sqrt(2.0)) / 2 +
                                 as_float(x[i]) * std::exp(-std::pow(as_float(x[i]), 2) / 2) / std::sqrt(2 * M_PI));
  }
  k.activation(x.data(), out.data(), size, Activation::kGelu, kInTurn);
  compare(type + " GELU", out, y);
  k.activation_gradient(dy.data(), x.data(), dx.data(), size, Activation::kGelu, kInTurn);
  compare(type + " GELU's gradient", dx, to_x);
}

// Three candidates as parts of the channels of one tensor.
template <class T>
void check_softmax_sum(const TypedKernels<T>& k, int channels, const std::string& type) {
  const Gating gating = {2, 35, channels};
  const int64_t size = 2 * 35 * int64_t(channels);
  const auto x = drawn<T>(3 * size), dy = drawn<T>(size), logits = drawn<T>(2 * 3 * channels);
  std::vector<double> shares(2 * 3 * channels), sum(size), to_x(3 * size), products(2 * 3 * channels),
      to_logits(2 * 3 * channels);
  const auto at = [=](int64_t image, int candidate, int c) { return (image * 3 + candidate) * channels + c; };
  const auto of_image = [&](auto body) {
    for (int image = 0; image < 2; ++image)
      for (int c = 0; c < channels; ++c)
        for (int i = 0; i < 3; ++i) body(image, i, c);
  };
  of_image([&](int image, int i, int c) {
    double total = 0;
    for (int j = 0; j < 3; ++j) total += std::exp(as_float(logits[at(image, j, c)]));
    shares[at(image, i, c)] = std::exp(as_float(logits[at(image, i, c)])) / total;
  });
  for (int64_t o = 0; o < size; ++o)
    for (int i = 0; i < 3; ++i) {
      const int64_t pixel = o / channels, from = (pixel * 3 + i) * channels + o % channels;
      const int64_t share = at(pixel / 35, i, int(o % channels));
      sum[o] += shares[share] * as_float(x[from]);
      to_x[from] = shares[share] * as_float(dy[o]);
      products[share] += double(as_float(dy[o])) * as_float(x[from]);
    }
  of_image([&](int image, int i, int c) {
    double mean = 0;
    for (int j = 0; j < 3; ++j) mean += shares[at(image, j, c)] * products[at(image, j, c)];
    to_logits[at(image, i, c)] = shares[at(image, i, c)] * (products[at(image, i, c)] - mean);
  });
  std::vector<T> y(size), dx(3 * size), d_logits(2 * 3 * channels);
  const std::vector<const T*> parts = {x.data(), x.data() + channels, x.data() + 2 * channels};
  k.softmax_sum(gating, 3 * channels, parts, logits.data(), y.data(), kInTurn);
  compare(type + " softmax sum", y, sum);
  k.softmax_sum_gradient(gating, 3 * channels, dy.data(), parts, logits.data(),
                         {dx.data(), dx.data() + channels, dx.data() + 2 * channels}, d_logits.data(), kInTurn);
  compare(type + " candidates' gradient", dx, to_x);
  compare(type + " logits' gradient", d_logits, to_logits);
}

template <class T>
void check_gates_and_pooling(const TypedKernels<T>& k, int channels, const std::string& type) {
  const Gating gating = {2, 63, channels};
  const int64_t size = 2 * 63 * int64_t(channels);
  const auto x = drawn<T>(size), dy = drawn<T>(size), gates = drawn<T>(2 * channels);
  std::vector<double> means(2 * channels), product(size), to_x(size), to_gates(2 * channels);
  for (int64_t i = 0; i < size; ++i) {
    const int64_t at = i / (63 * channels) * channels + i % channels;
    means[at] += as_float(x[i]) / 63.0;
    product[i] = double(as_float(x[i])) * as_float(gates[at]);
    to_x[i] = double(as_float(dy[i])) * as_float(gates[at]);
    to_gates[at] += double(as_float(dy[i])) * as_float(x[i]);
  }
  std::vector<T> y(size), dx(size), small(2 * channels);
  k.image_means(gating, x.data(), small.data(), kInTurn);
  compare(type + " image means", small, means);
  k.gate(gating, x.data(), gates.data(), y.data(), kInTurn);
  compare(type + " gate", y, product);
  k.gate_gradient(gating, dy.data(), x.data(), gates.data(), dx.data(), small.data(), kInTurn);
  compare(type + " gate gradient", dx, to_x);
  compare(type + " gates' gradient", small, to_gates);
  // 9 x 7 images, windows of 3 x 3 two apart, with a row and a column of padding.
  const Pooling p = {2, 9, 7, channels, 3, 3, 2, 2, 1, 1, 5, 4};
  const int64_t outputs = 2 * 5 * 4 * int64_t(channels);
  std::vector<double> largest(outputs, -1e30), average(outputs), to_largest(size);
  std::vector<int64_t> from(outputs);
  for (int64_t o = 0; o < outputs; ++o)
    for (int tap = 0; tap < 9; ++tap) {
      const int64_t c = o % channels, b = o / channels / 20;
      const int row = int(o / channels / 4 % 5) * 2 + tap / 3 - 1, column = int(o / channels % 4) * 2 + tap % 3 - 1;
      if (row < 0 || row >= 9 || column < 0 || column >= 7) continue;
      const int64_t i = ((b * 9 + row) * 7 + column) * channels + c;
      average[o] += as_float(x[i]) / 9.0;
      if (as_float(x[i]) > largest[o]) largest[o] = as_float(x[i]), from[o] = i;
    }
  for (int64_t o = 0; o < outputs; ++o) to_largest[from[o]] += as_float(dy[o]);
  std::vector<uint8_t> argmax(outputs);
  std::vector<T> pooled(outputs);
  k.pool(p, Pool::kMax, x.data(), argmax.data(), pooled.data(), kInTurn);
  compare(type + " max pooling", pooled, largest);
  k.pool_gradient(p, Pool::kMax, dy.data(), argmax.data(), dx.data(), kInTurn);
  compare(type + " max pooling's gradient", dx, to_largest);
  k.pool(p, Pool::kAverage, x.data(), nullptr, pooled.data(), kInTurn);
  compare(type + " average pooling", pooled, average);
}

void check_moves(const KernelTable& table) {
  const Shuffle s = {37, 24, 3, 4, {10, 14}};
  const auto first = drawn<float>(37 * 10), second = drawn<float>(37 * 14);
  std::vector<float> left(37 * 12), right(37 * 12), back_first(37 * 10), back_second(37 * 14);
  table.shuffle(s, {(const char*)first.data(), (const char*)second.data()}, {(char*)left.data(), (char*)right.data()},
                kInTurn);
  std::vector<double> expected_left(37 * 12), expected_right(37 * 12);
  for (int pixel = 0; pixel < 37; ++pixel)
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 3; ++j) {
        const int from = j * 8 + i, to = i * 3 + j;
        const double value = from < 10 ? first[pixel * 10 + from] : second[pixel * 14 + from - 10];
        (to < 12 ? expected_left[pixel * 12 + to] : expected_right[pixel * 12 + to - 12]) = value;
      }
  compare("shuffle", left, expected_left);
  compare("shuffle, second piece", right, expected_right);
  table.unshuffle(s, {(const char*)left.data(), (const char*)right.data()},
                  {(char*)back_first.data(), (char*)back_second.data()}, kInTurn);
  compare("unshuffle", back_first, std::vector<double>(first.begin(), first.end()));
  compare("unshuffle, second part", back_second, std::vector<double>(second.begin(), second.end()));
}

template <class T>
void check_dual_path(const TypedKernels<T>& k, int channels, const std::string& type) {
  const int updates = 2 * channels + 3;
  const DualPath d = {50, channels + 3, channels / 2, channels, updates, updates};
  const auto paths = drawn<T>(d.pixels * d.path_channels()), update = drawn<T>(d.pixels * updates);
  const auto dy = drawn<T>(d.pixels * d.outputs());
  std::vector<T> y(dy.size()), d_paths(paths.size()), d_update(update.size());
  std::vector<double> expected(dy.size()), to_paths(paths.size()), to_update(update.size());
  for (int64_t pixel = 0; pixel < d.pixels; ++pixel)
    for (int c = 0; c < d.outputs(); ++c) {
      const int64_t at = pixel * d.outputs() + c;
      if (c < d.path_channels()) {
        expected[at] += as_float(paths[pixel * d.path_channels() + c]);
        to_paths[pixel * d.path_channels() + c] = as_float(dy[at]);
      }
      if (c < d.residual || c >= d.path_channels()) {
        const int64_t from = pixel * updates + (c < d.residual ? c : c - d.dense);
        expected[at] += as_float(update[from]);
        to_update[from] = as_float(dy[at]);
      }
    }
  k.merge_paths(d, paths.data(), update.data(), update.data() + d.residual, y.data(), kInTurn);
  compare(type + " merged paths", y, expected);
  k.merge_paths_gradient(d, dy.data(), d_paths.data(), d_update.data(), d_update.data() + d.residual, kInTurn);
  compare(type + " paths' gradient", d_paths, to_paths);
  compare(type + " update's gradient", d_update, to_update);
}

template <class T>
void check_selection(const TypedKernels<T>& k, int channels, const std::string& type) {
  const int pixels = 37;
  Selection s{pixels, channels, {}};
  for (int i = 0; i < channels + 3; ++i) s.index.push_back(i * 5 % channels);
  const int selected = s.selected();
  const auto x = drawn<T>(pixels * channels), dy = drawn<T>(pixels * selected);
  std::vector<T> y(pixels * selected), dx(pixels * channels);
  std::vector<double> expected(pixels * selected), expected_dx(pixels * channels);
  for (int pixel = 0; pixel < pixels; ++pixel)
    for (int i = 0; i < selected; ++i) {
      const int from = pixel * channels + s.index[i], to = pixel * selected + i;
      expected[to] = as_float(x[from]);
      expected_dx[from] += as_float(dy[to]);
    }
  k.select_channels(s, x.data(), y.data(), kInTurn);
  compare(type + " selection of channels", y, expected);
  k.select_channels_gradient(s, dy.data(), dx.data(), kInTurn);
  compare(type + " selection's gradient", dx, expected_dx);
}

void check_optimizers(const KernelTable& table) {
  const int64_t count = 1013;
  const auto gradient = drawn<float>(count), start = drawn<float>(count), state = drawn<float>(count);
  auto squares = drawn<float>(count);
  for (auto& value : squares) value = std::abs(value);
  const Adam a = {0.1f, 0.9f, 0.99f, 1e-3f, 0.01f};
  auto weights = start, first = state, second = squares;
  std::vector<double> by_adam(count), mean(count), square(count);
  for (int64_t i = 0; i < count; ++i) {
    mean[i] = state[i] * 0.9 + gradient[i] * 0.1;
    square[i] = squares[i] * 0.99 + double(gradient[i]) * gradient[i] * 0.01;
    by_adam[i] = start[i] * 0.99 - 0.1 * mean[i] / (std::sqrt(square[i]) + 1e-3);
  }
  table.adam(a, gradient.data(), weights.data(), first.data(), second.data(), count);
  compare("Adam", weights, by_adam);
  compare("Adam's first moment", first, mean);
  compare("Adam's second moment", second, square);
  for (const bool nesterov : {false, true})
    for (const bool rate_in_momentum : {false, true}) {
      const Momentum m = {0.1f, 0.9f, nesterov, rate_in_momentum, 0.01f, 0.02f};
      std::vector<double> expected(count);
      for (int64_t i = 0; i < count; ++i) {
        const double g = (gradient[i] + 0.02 * start[i]) * (rate_in_momentum ? -0.1 : 1), sum = 0.9 * state[i] + g;
        expected[i] = start[i] * 0.99 + (nesterov ? 0.9 * sum + g : sum) * (rate_in_momentum ? 1 : -0.1);
      }
      auto moved = start, accumulator = state;
      table.descend(m, gradient.data(), moved.data(), accumulator.data(), count);
      compare("momentum", moved, expected);
    }
  std::vector<double> averages(count);
  for (int64_t i = 0; i < count; ++i) averages[i] = state[i] + (start[i] - state[i]) * 0.25;
  auto average = state;
  table.move_average(start.data(), 0.25f, average.data(), count);
  compare("moving average", average, averages);
  auto broken = start;
  std::vector<float> are_finite = {float(table.all_finite(broken.data(), count))};
  broken[count - 1] = NAN;
  are_finite.push_back(float(table.all_finite(broken.data(), count)));
  broken[count - 1] = -INFINITY;
  are_finite.push_back(float(table.all_finite(broken.data(), count)));
  compare("all finite", are_finite, std::vector<double>{1, 0, 0});
}

}  // namespace

int main(int, char** arguments) {
  const char* level = blocks_choose_level(arguments[1]);
  if (!level) return std::printf("%s is not available\n", arguments[1]), 2;
  const KernelTable& table = kernels();
  check_convolutions(table.float_kernels, table.min_channels, "float");
  check_convolutions(table.bf16_kernels, table.min_channels, "bfloat16");
  for (int channels : {3, 5, table.min_channels, 3 * table.min_channels + 5}) {
    check_normalisation(table.float_kernels, channels, "float");
    check_normalisation(table.bf16_kernels, channels, "bfloat16");
    check_affine_gradient(table.float_kernels, channels, "float");
    check_affine_gradient(table.bf16_kernels, channels, "bfloat16");
    check_dual_path(table.float_kernels, channels, "float");
    check_dual_path(table.bf16_kernels, channels, "bfloat16");
    check_selection(table.float_kernels, channels, "float");
    check_selection(table.bf16_kernels, channels, "bfloat16");
  }
  for (int channels : {table.min_channels, 3 * table.min_channels + 5}) {
    check_gates_and_pooling(table.float_kernels, channels, "float");
    check_gates_and_pooling(table.bf16_kernels, channels, "bfloat16");
    check_softmax_sum(table.float_kernels, channels, "float");
    check_softmax_sum(table.bf16_kernels, channels, "bfloat16");
  }
  for (int channels : {3, 5, table.min_channels, 3 * table.min_channels + 5}) {
    check_rows(table.float_kernels, channels, "float");
    check_rows(table.bf16_kernels, channels, "bfloat16");
  }
  check_moves(table);
  check_optimizers(table);
  std::printf("%s: %d comparisons, %d differences\n", level, comparisons, failures);
  return failures != 0;
}
