// The operations of norm.cc and layer_norm.cc: what they check, allocate and call.
#include "op_kernel_utils.h"

namespace blocks {
namespace {

template <class T>
class NormTrain : public OpKernel {
 public:
  explicit NormTrain(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {
    OP_REQUIRES_OK(c, c->GetAttr("epsilon", &epsilon_));
    OP_REQUIRES_OK(c, c->GetAttr("rate", &rate_));
  }
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(0);
    const int64_t channels = channels_of(x.shape());
    check_channels(c, channels, 1);
    for (int i = 1; i < 5 && c->status().ok(); ++i) check_vector(c, i, channels);
    if (!c->status().ok()) return;
    OP_REQUIRES(c, !has_residual(c, 5) || c->input(5).shape() == x.shape(),
                InvalidArgument("the residual's shape is not that of the inputs"));
    const TensorShape vector({channels});
    auto* y = out<T>(c, 0, x.shape());
    float *moved_mean = out<float>(c, 1, vector), *moved_variance = out<float>(c, 2, vector);
    float *mean = out<float>(c, 3, vector), *rstd = out<float>(c, 4, vector);
    if (!c->status().ok()) return;
    const Parallel parallel = parallel_of(c);
    const float *gamma = in<float>(c, 1), *beta = in<float>(c, 2);
    const float *running_mean = in<float>(c, 3), *running_variance = in<float>(c, 4);
    const int64_t rows = x.NumElements() / channels;
    if (rows == 0) {  // nothing to learn from: the running statistics stay, as in PyTorch
      for (int64_t i = 0; i < channels; ++i) {
        moved_mean[i] = mean[i] = running_mean[i];
        moved_variance[i] = running_variance[i];
        rstd[i] = 1.0f / std::sqrt(running_variance[i] + epsilon_);
      }
      return;
    }
    kernels_for<T>().moments(in<T>(c, 0), rows, int(channels), mean, rstd, parallel);
    std::vector<float> scale(channels), offset(channels);
    const float unbiased = float(double(rows) / std::max<int64_t>(1, rows - 1));
    for (int64_t i = 0; i < channels; ++i) {
      // Not by the difference, in which the smaller of the two would be lost.
      moved_mean[i] = running_mean[i] * (1.0f - rate_) + rate_ * mean[i];
      moved_variance[i] = running_variance[i] * (1.0f - rate_) + rate_ * (rstd[i] * unbiased);
      rstd[i] = 1.0f / std::sqrt(rstd[i] + epsilon_);
      scale[i] = gamma[i] * rstd[i];
      offset[i] = beta[i] - mean[i] * scale[i];
    }
    kernels_for<T>().affine(in<T>(c, 0), has_residual(c, 5) ? in<T>(c, 5) : nullptr, y, rows, int(channels),
                            scale.data(), offset.data(), activation_, parallel);
  }

 private:
  float epsilon_, rate_;
  Activation activation_;
};

// With a residual the gradient is taken at the outputs, where only these activations have the same as at their inputs.
void check_residual(OpKernelConstruction* c, bool residual, Activation activation) {
  const bool known =
      activation == Activation::kNone || activation == Activation::kRelu || activation == Activation::kRelu6;
  OP_REQUIRES(c, !residual || known, InvalidArgument("with a residual the activation is none, relu or relu6"));
}

template <class T>
class NormTrainGrad : public OpKernel {
 public:
  explicit NormTrainGrad(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {
    OP_REQUIRES_OK(c, c->GetAttr("residual", &residual_));
    check_residual(c, residual_, activation_);
  }
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(1);
    const int64_t channels = channels_of(x.shape());
    check_channels(c, channels, 1);
    OP_REQUIRES(c, c->input(0).shape() == x.shape(), InvalidArgument("gradients and inputs differ in shape"));
    for (int i = 2; i < 6 && c->status().ok(); ++i) check_vector(c, i, channels);
    OP_REQUIRES(c, !has_residual(c, 6) || c->input(6).shape() == x.shape(), InvalidArgument("outputs differ in shape"));
    const TensorShape vector({channels});
    auto* dx = out<T>(c, 0, x.shape());
    float *d_gamma = out<float>(c, 1, vector), *d_beta = out<float>(c, 2, vector);
    auto* d_residual = out<T>(c, 3, residual_ ? x.shape() : TensorShape({0}));
    if (!c->status().ok()) return;
    const int64_t rows = x.NumElements() / channels;
    if (rows == 0) {
      clear(d_gamma, vector);
      clear(d_beta, vector);
      return;
    }
    kernels_for<T>().norm_gradient(in<T>(c, 0), in<T>(c, 1), has_residual(c, 6) ? in<T>(c, 6) : nullptr, dx,
                                   residual_ ? d_residual : nullptr, rows, int(channels), in<float>(c, 4),
                                   in<float>(c, 5), in<float>(c, 2), in<float>(c, 3), d_gamma, d_beta, activation_,
                                   parallel_of(c));
  }

 private:
  bool residual_;
  Activation activation_;
};

template <class T>
class Affine : public OpKernel {
 public:
  explicit Affine(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {}
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(0);
    const int64_t channels = channels_of(x.shape());
    check_channels(c, channels, 1);
    for (int i = 1; i < 3 && c->status().ok(); ++i) check_vector(c, i, channels);
    OP_REQUIRES(c, !has_residual(c, 3) || c->input(3).shape() == x.shape(),
                InvalidArgument("the residual's shape is not that of the inputs"));
    auto* y = out<T>(c, 0, x.shape());
    if (!c->status().ok() || x.NumElements() == 0) return;
    kernels_for<T>().affine(in<T>(c, 0), has_residual(c, 3) ? in<T>(c, 3) : nullptr, y, x.NumElements() / channels,
                            int(channels), in<float>(c, 1), in<float>(c, 2), activation_, parallel_of(c));
  }

 private:
  Activation activation_;
};

template <class T>
class AffineGrad : public OpKernel {
 public:
  explicit AffineGrad(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {
    OP_REQUIRES_OK(c, c->GetAttr("residual", &residual_));
    check_residual(c, residual_, activation_);
  }
  void Compute(OpKernelContext* c) override {  // dy, x, scale, offset, outputs
    const Tensor& x = c->input(1);
    const int64_t channels = channels_of(x.shape());
    check_channels(c, channels, 1);
    OP_REQUIRES(c, c->input(0).shape() == x.shape(), InvalidArgument("gradients and inputs differ in shape"));
    for (int i = 2; i < 4 && c->status().ok(); ++i) check_vector(c, i, channels);
    OP_REQUIRES(c, !has_residual(c, 4) || c->input(4).shape() == x.shape(), InvalidArgument("outputs differ in shape"));
    const TensorShape vector({channels});
    auto* dx = out<T>(c, 0, x.shape());
    float *d_scale = out<float>(c, 1, vector), *d_offset = out<float>(c, 2, vector);
    auto* d_residual = out<T>(c, 3, residual_ ? x.shape() : TensorShape({0}));
    if (!c->status().ok()) return;
    if (x.NumElements() == 0) {
      clear(d_scale, vector);
      clear(d_offset, vector);
      return;
    }
    kernels_for<T>().affine_gradient(in<T>(c, 0), in<T>(c, 1), has_residual(c, 4) ? in<T>(c, 4) : nullptr, dx,
                                     residual_ ? d_residual : nullptr, x.NumElements() / channels, int(channels),
                                     in<float>(c, 2), in<float>(c, 3), d_scale, d_offset, activation_, parallel_of(c));
  }

 private:
  bool residual_;
  Activation activation_;
};

template <class T>
class LayerNorm : public OpKernel {
 public:
  explicit LayerNorm(OpKernelConstruction* c) : OpKernel(c) { OP_REQUIRES_OK(c, c->GetAttr("epsilon", &epsilon_)); }
  void Compute(OpKernelContext* c) override {  // x, gamma, beta
    const Tensor& x = c->input(0);
    OP_REQUIRES(c, x.dims() > 0, InvalidArgument("the inputs have no axis"));
    const int64_t channels = channels_of(x.shape());
    check_channels(c, channels, 1);
    for (int i = 1; i < 3 && c->status().ok(); ++i) check_vector(c, i, channels);
    if (!c->status().ok()) return;
    TensorShape rows = x.shape();
    rows.RemoveLastDims(1);
    auto* y = out<T>(c, 0, x.shape());
    float *mean = out<float>(c, 1, rows), *rstd = out<float>(c, 2, rows);
    if (!c->status().ok()) return;
    if (x.NumElements() == 0) return clear(mean, rows), clear(rstd, rows);
    kernels_for<T>().layer_norm(in<T>(c, 0), y, rows.num_elements(), int(channels), in<float>(c, 1), in<float>(c, 2),
                                epsilon_, mean, rstd, parallel_of(c));
  }

 private:
  float epsilon_;
};

template <class T>
class LayerNormGrad : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {  // dy, x, gamma, mean, rstd
    const Tensor& x = c->input(1);
    OP_REQUIRES(c, x.dims() > 0, InvalidArgument("the inputs have no axis"));
    const int64_t channels = channels_of(x.shape());
    check_channels(c, channels, 1);
    if (!c->status().ok()) return;
    TensorShape rows = x.shape();
    rows.RemoveLastDims(1);
    OP_REQUIRES(c, c->input(0).shape() == x.shape(), InvalidArgument("gradients and inputs differ in shape"));
    check_vector(c, 2, channels);
    OP_REQUIRES(c, c->input(3).shape() == rows && c->input(4).shape() == rows,
                InvalidArgument("mean and rstd are one for each row of the inputs"));
    const TensorShape vector({channels});
    auto* dx = out<T>(c, 0, x.shape());
    float *d_gamma = out<float>(c, 1, vector), *d_beta = out<float>(c, 2, vector);
    if (!c->status().ok()) return;
    if (x.NumElements() == 0) return clear(d_gamma, vector), clear(d_beta, vector);
    kernels_for<T>().layer_norm_gradient(in<T>(c, 0), in<T>(c, 1), dx, rows.num_elements(), int(channels),
                                         in<float>(c, 3), in<float>(c, 4), in<float>(c, 2), d_gamma, d_beta,
                                         parallel_of(c));
  }
};

class MinChannels : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    Tensor* channels = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(0, TensorShape({}), &channels));
    *static_cast<int32_t*>(channels->data()) = kernels().min_channels;
  }
};

REGISTER_KERNEL_BUILDER(Name("BlocksMinChannels").Device(tensorflow::DEVICE_CPU), MinChannels);
BLOCKS_KERNEL("BlocksNormTrain", NormTrain)
BLOCKS_KERNEL("BlocksNormTrainGrad", NormTrainGrad)
BLOCKS_KERNEL("BlocksAffine", Affine)
BLOCKS_KERNEL("BlocksAffineGrad", AffineGrad)
BLOCKS_KERNEL("BlocksLayerNorm", LayerNorm)
BLOCKS_KERNEL("BlocksLayerNormGrad", LayerNormGrad)

}  // namespace
}  // namespace blocks
