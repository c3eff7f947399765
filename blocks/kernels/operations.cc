// Operations on the kernels: what they check, allocate and call.
#include "tensorflow_side.h"

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
    const int64_t channels = x.dim_size(x.dims() - 1), rows = channels ? x.NumElements() / channels : 0;
    check_channels(c, channels);
    for (int i = 1; i < 5 && c->status().ok(); ++i) check_vector(c, i, channels);
    if (!c->status().ok()) return;
    OP_REQUIRES(c, rows > 0, InvalidArgument("nothing to normalise: the batch is empty"));
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
    moments(in<T>(c, 0), rows, int(channels), mean, rstd, parallel);
    std::vector<float> scale(channels), offset(channels);
    const float unbiased = float(double(rows) / std::max<int64_t>(1, rows - 1));
    for (int64_t i = 0; i < channels; ++i) {
      moved_mean[i] = running_mean[i] + rate_ * (mean[i] - running_mean[i]);
      moved_variance[i] = running_variance[i] + rate_ * (rstd[i] * unbiased - running_variance[i]);
      rstd[i] = 1.0f / std::sqrt(rstd[i] + epsilon_);
      scale[i] = gamma[i] * rstd[i];
      offset[i] = beta[i] - mean[i] * scale[i];
    }
    affine(in<T>(c, 0), has_residual(c, 5) ? in<T>(c, 5) : nullptr, y, rows, int(channels), scale.data(),
           offset.data(), activation_, parallel);
  }

 private:
  float epsilon_, rate_;
  Activation activation_;
};

template <class T>
class NormTrainGrad : public OpKernel {
 public:
  explicit NormTrainGrad(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {
    OP_REQUIRES_OK(c, c->GetAttr("residual", &residual_));
  }
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(1);
    const int64_t channels = x.dim_size(x.dims() - 1), rows = x.NumElements() / channels;
    check_channels(c, channels);
    OP_REQUIRES(c, c->input(0).shape() == x.shape(), InvalidArgument("gradients and inputs differ in shape"));
    for (int i = 2; i < 6 && c->status().ok(); ++i) check_vector(c, i, channels);
    OP_REQUIRES(c, !has_residual(c, 6) || c->input(6).shape() == x.shape(), InvalidArgument("outputs differ in shape"));
    const TensorShape vector({channels});
    auto* dx = out<T>(c, 0, x.shape());
    float *d_gamma = out<float>(c, 1, vector), *d_beta = out<float>(c, 2, vector);
    auto* d_residual = out<T>(c, 3, residual_ ? x.shape() : TensorShape({0}));
    if (!c->status().ok()) return;
    norm_gradient(in<T>(c, 0), in<T>(c, 1), has_residual(c, 6) ? in<T>(c, 6) : nullptr, dx,
                  residual_ ? d_residual : nullptr, rows, int(channels), in<float>(c, 4), in<float>(c, 5),
                  in<float>(c, 2), in<float>(c, 3), d_gamma, d_beta, activation_, parallel_of(c));
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
    const int64_t channels = x.dim_size(x.dims() - 1);
    check_channels(c, channels);
    for (int i = 1; i < 3 && c->status().ok(); ++i) check_vector(c, i, channels);
    OP_REQUIRES(c, !has_residual(c, 3) || c->input(3).shape() == x.shape(),
                InvalidArgument("the residual's shape is not that of the inputs"));
    auto* y = out<T>(c, 0, x.shape());
    if (!c->status().ok()) return;
    affine(in<T>(c, 0), has_residual(c, 3) ? in<T>(c, 3) : nullptr, y, x.NumElements() / channels, int(channels),
           in<float>(c, 1), in<float>(c, 2), activation_, parallel_of(c));
  }

 private:
  Activation activation_;
};

// A shape, given as the third input.
bool shape_input(OpKernelContext* c, TensorShape& shape) {
  const Tensor& sizes = c->input(2);
  const auto* from = static_cast<const int32_t*>(sizes.data());
  for (int64_t i = 0; i < sizes.NumElements() && c->status().ok(); ++i)
    if (auto status = shape.AddDimWithStatus(from[i]); !status.ok()) c->CtxFailure(status);
  return c->status().ok();
}

// What the depthwise operations have in common: attributes, and the geometry they give with shapes.
class DepthwiseOp : public OpKernel {
 public:
  explicit DepthwiseOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("strides", &strides_));
    OP_REQUIRES_OK(c, c->GetAttr("margins", &margins_));
    OP_REQUIRES(c, strides_.size() == 2 && margins_.size() == 4 && strides_[0] > 0 && strides_[1] > 0,
                InvalidArgument("strides are (height, width) and margins (top, bottom, left, right)"));
  }

 protected:
  bool geometry(OpKernelContext* c, const TensorShape& x, const TensorShape& kernel, Depthwise& d) {
    const bool fits = x.dims() == 4 && kernel.dims() == 4 && kernel.dim_size(2) == 1 &&
                      kernel.dim_size(3) == x.dim_size(3) && kernel.dim_size(0) <= 11 && kernel.dim_size(1) <= 11;
    if (!fits) {
      c->CtxFailure(InvalidArgument("a kernel of ", kernel.DebugString(), " does not fit images of ", x.DebugString()));
      return false;
    }
    check_channels(c, x.dim_size(3));
    d = {x.dim_size(0), int(x.dim_size(1)), int(x.dim_size(2)), int(x.dim_size(3)), int(kernel.dim_size(0)),
         int(kernel.dim_size(1)), strides_[0], strides_[1], margins_[0], margins_[2], 0, 0};
    d.out_height = (d.height + margins_[0] + margins_[1] - d.kernel_height) / d.stride_height + 1;
    d.out_width = (d.width + margins_[2] + margins_[3] - d.kernel_width) / d.stride_width + 1;
    if (d.out_height < 1 || d.out_width < 1) c->CtxFailure(InvalidArgument("the images are smaller than the kernel"));
    return c->status().ok();
  }
  TensorShape outputs(const Depthwise& d) { return TensorShape({d.batch, d.out_height, d.out_width, d.channels}); }
  std::vector<int32_t> strides_, margins_;
};

template <class T>
class DepthwiseForward : public DepthwiseOp {
 public:
  explicit DepthwiseForward(OpKernelConstruction* c) : DepthwiseOp(c), activation_(activation_of(c)) {}
  void Compute(OpKernelContext* c) override {
    Depthwise d;
    if (!geometry(c, c->input(0).shape(), c->input(1).shape(), d)) return;
    if (c->num_inputs() > 2) check_vector(c, 2, d.channels);
    auto* y = out<T>(c, 0, outputs(d));
    if (!c->status().ok()) return;
    depthwise(d, in<T>(c, 0), in<T>(c, 1), c->num_inputs() > 2 ? in<T>(c, 2) : nullptr, y, activation_,
              parallel_of(c));
  }

 private:
  Activation activation_;
};

template <class T>
class DepthwiseInputGrad : public DepthwiseOp {
 public:
  using DepthwiseOp::DepthwiseOp;
  void Compute(OpKernelContext* c) override {  // dy, kernel, shape of x
    TensorShape shape;
    if (!shape_input(c, shape)) return;
    Depthwise d;
    if (!geometry(c, shape, c->input(1).shape(), d)) return;
    OP_REQUIRES(c, c->input(0).shape() == outputs(d), InvalidArgument("gradients of a wrong shape"));
    auto* dx = out<T>(c, 0, shape);
    if (dx) depthwise_input_gradient(d, in<T>(c, 0), in<T>(c, 1), dx, parallel_of(c));
  }
};

template <class T>
class DepthwiseFilterGrad : public DepthwiseOp {
 public:
  using DepthwiseOp::DepthwiseOp;
  void Compute(OpKernelContext* c) override {  // x, dy, shape of the kernel
    TensorShape shape;
    if (!shape_input(c, shape)) return;
    Depthwise d;
    if (!geometry(c, c->input(0).shape(), shape, d)) return;
    OP_REQUIRES(c, c->input(1).shape() == outputs(d), InvalidArgument("gradients of a wrong shape"));
    auto* d_kernel = out<T>(c, 0, shape);
    if (d_kernel) depthwise_filter_gradient(d, in<T>(c, 0), in<T>(c, 1), d_kernel, parallel_of(c));
  }
};

// Rows, groups and channels of a pointwise convolution. The kernel is (1, 1, inputs of a group, outputs).
bool pointwise_of(OpKernelContext* c, const TensorShape& x, const TensorShape& kernel, Pointwise& p) {
  const int64_t channels = x.dim_size(x.dims() - 1);
  const bool fits = kernel.dims() == 4 && kernel.dim_size(0) == 1 && kernel.dim_size(1) == 1 && kernel.dim_size(2) > 0 &&
                    channels > 0 && channels % kernel.dim_size(2) == 0 &&
                    kernel.dim_size(3) % (channels / kernel.dim_size(2)) == 0 && kernel.dim_size(3) > 0;
  if (!fits) {
    c->CtxFailure(InvalidArgument("a kernel of ", kernel.DebugString(), " does not fit images of ", x.DebugString()));
    return false;
  }
  const int64_t groups = channels / kernel.dim_size(2);
  p = {x.num_elements() / channels, int(groups), int(kernel.dim_size(2)), int(kernel.dim_size(3) / groups)};
  return true;
}

TensorShape with_channels(TensorShape shape, int64_t channels) {
  shape.set_dim(shape.dims() - 1, channels);
  return shape;
}

template <class T>
class PointwiseForward : public OpKernel {
 public:
  explicit PointwiseForward(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {
    OP_REQUIRES_OK(c, c->GetAttr("biases", &biases_));
  }
  void Compute(OpKernelContext* c) override {  // x, kernel, no or one bias, no or one residual
    Pointwise p;
    if (!pointwise_of(c, c->input(0).shape(), c->input(1).shape(), p)) return;
    const int64_t outputs = int64_t(p.groups) * p.outputs;
    if (biases_) check_vector(c, 2, outputs);
    const TensorShape shape = with_channels(c->input(0).shape(), outputs);
    const bool residual = has_residual(c, 2 + biases_);
    OP_REQUIRES(c, !residual || c->input(2 + biases_).shape() == shape,
                InvalidArgument("the residual's shape is not that of the outputs"));
    auto* y = out<T>(c, 0, shape);
    if (!c->status().ok() || p.rows == 0) return;
    pointwise(p, in<T>(c, 0), in<T>(c, 1), biases_ ? in<T>(c, 2) : nullptr,
              residual ? in<T>(c, 2 + biases_) : nullptr, y, activation_, parallel_of(c));
  }

 private:
  int biases_;
  Activation activation_;
};

template <class T>
class PointwiseInputGrad : public OpKernel {
 public:
  explicit PointwiseInputGrad(OpKernelConstruction* c) : OpKernel(c) { OP_REQUIRES_OK(c, c->GetAttr("groups", &groups_)); }
  void Compute(OpKernelContext* c) override {  // dy, kernel
    const TensorShape shape = with_channels(c->input(0).shape(), c->input(1).dim_size(2) * groups_);
    Pointwise p;
    if (!pointwise_of(c, shape, c->input(1).shape(), p)) return;
    OP_REQUIRES(c, c->input(0).dim_size(c->input(0).dims() - 1) == int64_t(p.groups) * p.outputs,
                InvalidArgument("gradients of a wrong shape"));
    auto* dx = out<T>(c, 0, shape);
    if (dx && p.rows) pointwise_input_gradient(p, in<T>(c, 0), in<T>(c, 1), dx, parallel_of(c));
  }

 private:
  int groups_;
};

template <class T>
class PointwiseFilterGrad : public OpKernel {
 public:
  explicit PointwiseFilterGrad(OpKernelConstruction* c) : OpKernel(c) { OP_REQUIRES_OK(c, c->GetAttr("groups", &groups_)); }
  void Compute(OpKernelContext* c) override {  // x, dy
    const TensorShape &x = c->input(0).shape(), &dy = c->input(1).shape();
    const int64_t inputs = x.dim_size(x.dims() - 1), outputs = dy.dim_size(dy.dims() - 1);
    OP_REQUIRES(c, groups_ > 0 && inputs % groups_ == 0 && outputs % groups_ == 0 && with_channels(x, outputs) == dy,
                InvalidArgument("inputs of ", x.DebugString(), " and gradients of ", dy.DebugString()));
    const TensorShape shape({1, 1, inputs / groups_, outputs});
    Pointwise p;
    if (!pointwise_of(c, x, shape, p)) return;
    auto* d_kernel = out<T>(c, 0, shape);
    if (d_kernel) pointwise_filter_gradient(p, in<T>(c, 0), in<T>(c, 1), d_kernel, parallel_of(c));
  }

 private:
  int groups_;
};

BLOCKS_KERNEL("BlocksDepthwise", DepthwiseForward)
BLOCKS_KERNEL("BlocksDepthwiseInputGrad", DepthwiseInputGrad)
BLOCKS_KERNEL("BlocksDepthwiseFilterGrad", DepthwiseFilterGrad)
BLOCKS_KERNEL("BlocksPointwise", PointwiseForward)
BLOCKS_KERNEL("BlocksPointwiseInputGrad", PointwiseInputGrad)
BLOCKS_KERNEL("BlocksPointwiseFilterGrad", PointwiseFilterGrad)
class FewestChannels : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    Tensor* channels = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(0, TensorShape({}), &channels));
    *static_cast<int32_t*>(channels->data()) = fewest_channels();
  }
};

REGISTER_KERNEL_BUILDER(Name("BlocksFewestChannels").Device(tensorflow::DEVICE_CPU), FewestChannels);
BLOCKS_KERNEL("BlocksNormTrain", NormTrain)
BLOCKS_KERNEL("BlocksNormTrainGrad", NormTrainGrad)
BLOCKS_KERNEL("BlocksAffine", Affine)

}  // namespace
}  // namespace blocks
