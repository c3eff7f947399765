// What the kernels compute. Images are (B, H, W, C), contiguous; T, float or bf16, is their type. Weights, statistics
// and sums are float or wider.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace blocks {

struct bf16 {
  uint16_t bits;
};

enum class Activation { kNone, kRelu, kRelu6, kHardSilu, kSilu, kGelu };

// Runs a function for each of `tasks` numbers, on `threads` threads.
struct Parallel {
  int threads;
  std::function<void(int64_t tasks, const std::function<void(int64_t)>& run)> run;
};

// Memory of the calling thread, kept for its next use: fresh pages would cost more than the work in them. Buffers in
// use at the same time have different slots; kShared is for what the tasks that a thread starts read or write too.
constexpr int kShared = 3;
float* scratch(int slot, int64_t floats);

// ---- normalisation: norm.cc -------------------------------------------------------------------------------------

// Mean and biased variance of each of `channels` columns of x (rows, channels).
template <class T>
void moments(const T* x, int64_t rows, int channels, float* mean, float* variance, const Parallel& parallel);

// y = activation(x * scale + offset + residual); residual may be null.
template <class T>
void affine(const T* x, const T* residual, T* y, int64_t rows, int channels, const float* scale, const float* offset,
            Activation activation, const Parallel& parallel);

// Gradients of y = activation((x - mean) * rstd * gamma + beta + residual), mean and rstd being those of x.
// With a residual, `y` is given and the activation is none, ReLU or ReLU6; otherwise y and d_residual are null.
template <class T>
void norm_gradient(const T* dy, const T* x, const T* y, T* dx, T* d_residual, int64_t rows, int channels,
                   const float* mean, const float* rstd, const float* gamma, const float* beta, float* d_gamma,
                   float* d_beta, Activation activation, const Parallel& parallel);

// Gradients of y = activation(x * scale + offset + residual), with `y` and `d_residual` as above.
template <class T>
void affine_gradient(const T* dy, const T* x, const T* y, T* dx, T* d_residual, int64_t rows, int channels,
                     const float* scale, const float* offset, float* d_scale, float* d_offset, Activation activation,
                     const Parallel& parallel);

// ---- layer normalisation: layer_norm.cc --------------------------------------------------------------------------

// y = (x - mean) * rstd * gamma + beta, mean and rstd being those of each row of x (rows, channels): they are written.
template <class T>
void layer_norm(const T* x, T* y, int64_t rows, int channels, const float* gamma, const float* beta, float epsilon,
                float* mean, float* rstd, const Parallel& parallel);
template <class T>
void layer_norm_gradient(const T* dy, const T* x, T* dx, int64_t rows, int channels, const float* mean,
                         const float* rstd, const float* gamma, float* d_gamma, float* d_beta,
                         const Parallel& parallel);

// ---- activations and biases by themselves: elementwise.cc --------------------------------------------------------

template <class T>
void activation(const T* x, T* y, int64_t count, Activation kind, const Parallel& parallel);
template <class T>
void activation_gradient(const T* dy, const T* x, T* dx, int64_t count, Activation kind, const Parallel& parallel);
// The sums of the columns of dy (rows, channels).
template <class T>
void bias_gradient(const T* dy, int64_t rows, int channels, float* d_bias, const Parallel& parallel);

// ---- depthwise convolution: depthwise.cc --------------------------------------------------------------------------

struct Depthwise {
  int64_t batch;
  int height, width, channels;   // of the inputs
  int kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
  int out_height, out_width;
};

template <class T>
void depthwise(const Depthwise& d, const T* x, const float* kernel, const float* bias, T* y, Activation activation,
               const Parallel& parallel);
template <class T>
void depthwise_input_gradient(const Depthwise& d, const T* dy, const float* kernel, T* dx, const Parallel& parallel);
template <class T>
void depthwise_filter_gradient(const Depthwise& d, const T* x, const T* dy, float* d_kernel, const Parallel& parallel);

// ---- spatial convolution in groups: spatial.cc, spatial_gradient.cc -----------------------------------------------

// kernel (kh, kw, in_channels_per_group, groups * out_channels_per_group)
struct Spatial {
  int64_t batch;
  int height, width;             // of the inputs
  int groups, in_channels_per_group, out_channels_per_group;
  int kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
  int out_height, out_width;
};

template <class T>
void spatial(const Spatial& s, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
             Activation activation, const Parallel& parallel);
template <class T>
void spatial_input_gradient(const Spatial& s, const T* dy, const float* kernel, T* dx, const Parallel& parallel);
template <class T>
void spatial_filter_gradient(const Spatial& s, const T* x, const T* dy, float* d_kernel, const Parallel& parallel);

// ---- the same as matrix products, one a group: dense.cc, dense_gradient.cc ----------------------------------------

template <class T>
void dense(const Spatial& s, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
           Activation activation, const Parallel& parallel);
template <class T>
void dense_input_gradient(const Spatial& s, const T* dy, const float* kernel, T* dx, const Parallel& parallel);
template <class T>
void dense_filter_gradient(const Spatial& s, const T* x, const T* dy, float* d_kernel, const Parallel& parallel);

// ---- pointwise convolution: pointwise.cc --------------------------------------------------------------------------

// x (rows, in_channels), kernel (in_channels_per_group, out_channels), y (rows, out_channels).
struct Pointwise {
  int64_t rows;
  int groups, in_channels_per_group, out_channels_per_group;
};

template <class T>
void pointwise(const Pointwise& p, const T* x, const float* kernel, const float* bias, const T* residual, T* y,
               Activation activation, const Parallel& parallel);
template <class T>
void pointwise_input_gradient(const Pointwise& p, const T* dy, const float* kernel, T* dx, const Parallel& parallel);
template <class T>
void pointwise_filter_gradient(const Pointwise& p, const T* x, const T* dy, float* d_kernel, const Parallel& parallel);

// ---- squeeze and excitation: excitation.cc -----------------------------------------------------------------------

struct Gating {
  int64_t batch, pixels;
  int channels;
};

// means (batch, channels) over the pixels of each image.
template <class T>
void image_means(const Gating& g, const T* x, T* means, const Parallel& parallel);
// The gradient of the means' inputs, and dx: another of the same inputs. `sum` may be dx.
template <class T>
void add_image_means_gradient(const Gating& g, const T* d_means, const T* dx, T* sum, const Parallel& parallel);
// Products with gates (batch, channels).
template <class T>
void gate(const Gating& g, const T* x, const T* gates, T* y, const Parallel& parallel);
template <class T>
void gate_gradient(const Gating& g, const T* dy, const T* x, const T* gates, T* dx, T* d_gates,
                   const Parallel& parallel);
// Sums over candidates, each channel of which is weighed by the softmax over the candidates of its logits (batch,
// candidates, channels). `step`: entries from a candidate's pixel to its next one.
template <class T>
void softmax_sum(const Gating& g, int64_t step, const std::vector<const T*>& candidates, const T* logits, T* y,
                 const Parallel& parallel);
template <class T>
void softmax_sum_gradient(const Gating& g, int64_t step, const T* dy, const std::vector<const T*>& candidates,
                          const T* logits, const std::vector<T*>& d_candidates, T* d_logits, const Parallel& parallel);

// ---- pooling: pooling.cc ------------------------------------------------------------------------------------------

constexpr int kMaxWindowTaps = 256;  // of a window: their index is a byte

// Every window holds at least one pixel of the images.
struct Pooling {
  int64_t batch;
  int height, width, channels;  // of the inputs
  int window_height, window_width, stride_height, stride_width, pad_top, pad_left;
  int out_height, out_width;
};

// The maximum, and the index of its tap in the window; the value at that index; or the average, to which the padding
// counts as zeros.
enum class Pool { kMax, kGather, kAverage };

// `argmax` (batch, out_height, out_width, channels) is written for kMax, read for kGather, unused for kAverage.
template <class T>
void pool(const Pooling& p, Pool kind, const T* x, uint8_t* argmax, T* y, const Parallel& parallel);
template <class T>
void pool_gradient(const Pooling& p, Pool kind, const T* dy, const uint8_t* argmax, T* dx, const Parallel& parallel);

// ---- resizing: resize.cc ------------------------------------------------------------------------------------------

enum class Filter { kBilinear, kBicubic };  // the latter Keys', with a = -0.5

// A line of `before` pixels is resized to `after`, of which `count` from `first` on are kept.
struct Resampling {
  int before, after, first, count;
};

// An image (rows.before, columns.before, channels) of levels -> (rows.count, columns.count, channels), in the calling
// thread alone. Nothing is empty, and what is kept lies in the line.
void resize(const uint8_t* image, int channels, const Resampling& rows, const Resampling& columns, Filter filter,
            uint8_t* resized);

// ---- updates of optimizers: optimizers.cc ------------------------------------------------------------------------

// Whether no entry is NaN or infinite.
bool all_finite(const float* x, int64_t count);

// One step of AdamW. `rate` has the correction of both moments in it; epsilon is added to the root of the second.
struct Adam {
  float rate, beta_1, beta_2, epsilon;
  float decay;  // the share of the weights that is subtracted before: decoupled decay times learning rate
};

// One step of gradient descent with momentum.
struct Momentum {
  float rate, momentum;
  bool nesterov;
  bool rate_in_momentum;  // as Keras has it; PyTorch multiplies the accumulator by the rate
  float decay;            // decoupled, as Adam's
  float coupled_decay;    // times the weights, it is added to the gradient
};

// `count` entries of a variable, in the calling thread.
void adam(const Adam& a, const float* gradient, float* weights, float* first, float* second, int64_t count);
void descend(const Momentum& m, const float* gradient, float* weights, float* accumulator, int64_t count);
// average + (value - average) * share
void move_average(const float* value, float share, float* average, int64_t count);

// ---- what only moves pixels and channels: shuffle.cc --------------------------------------------------------------

// Every stride-th row and column.
struct Sampling {
  int64_t batch;
  int height, width, stride_height, stride_width;
  int64_t pixel_bytes;
  int out_height() const { return height ? (height - 1) / stride_height + 1 : 0; }
  int out_width() const { return width ? (width - 1) / stride_width + 1 : 0; }
};

void subsample(const Sampling& s, const char* x, char* y, const Parallel& parallel);
void subsample_gradient(const Sampling& s, const char* dy, char* dx, const Parallel& parallel);

// Channel shuffle of images whose channels lie in several parts, one after the other: with n channels a group,
// channel i * groups + j of the result is channel j * n + i of the parts. The result comes in pieces of equal size.
struct Shuffle {
  int64_t pixels;
  int channels, groups, entry_bytes;   // entries of 2 or 4 bytes
  std::vector<int> sizes;              // channels of each part
};

void shuffle(const Shuffle& s, const std::vector<const char*>& parts, const std::vector<char*>& pieces,
             const Parallel& parallel);
void unshuffle(const Shuffle& s, const std::vector<const char*>& pieces, const std::vector<char*>& parts,
               const Parallel& parallel);

// ---- dual_path.cc -------------------------------------------------------------------------------------------------

// Channels of a residual path, of a dense path, and of what is appended to the latter.
struct DualPath {
  int64_t pixels;
  int residual, dense, growth;
  int64_t added_step, appended_step;  // entries from a pixel to the next one

  int path_channels() const { return residual + dense; }
  int outputs() const { return residual + dense + growth; }
};

// y (residual + dense + growth) = the paths (residual, dense), with what is added and what is appended.
template <class T>
void merge_paths(const DualPath& d, const T* paths, const T* added, const T* appended, T* y, const Parallel& parallel);
template <class T>
void merge_paths_gradient(const DualPath& d, const T* dy, T* d_paths, T* d_added, T* d_appended,
                          const Parallel& parallel);

// ---- selection.cc -------------------------------------------------------------------------------------------------

// Channel i of the result is channel index[i] of the images.
struct Selection {
  int64_t pixels;
  int channels;
  std::vector<int32_t> index;
  int selected() const { return int(index.size()); }
};

template <class T>
void select_channels(const Selection& s, const T* x, T* y, const Parallel& parallel);
template <class T>
void select_channels_gradient(const Selection& s, const T* dy, T* dx, const Parallel& parallel);

}  // namespace blocks
