// The operations of depthwise.cc and pointwise.cc: what they check, allocate and call.
#include "op_kernel_utils.h"

namespace blocks {
namespace {

// What the depthwise operations have in common: attributes, and the geometry they give with shapes.
class DepthwiseOp : public OpKernel {
 public:
  explicit DepthwiseOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("strides", &strides_));
    OP_REQUIRES_OK(c, c->GetAttr("explicit_padding", &explicit_padding_));
    OP_REQUIRES(c, strides_.size() == 2 && explicit_padding_.size() == 4 && strides_[0] > 0 && strides_[1] > 0,
                InvalidArgument("strides are (height, width) and explicit_padding (top, bottom, left, right)"));
    for (int amount : explicit_padding_)
      OP_REQUIRES(c, amount >= 0, InvalidArgument("explicit_padding is not negative, got ", amount));
  }

 protected:
  bool geometry(OpKernelContext* c, const TensorShape& x, const TensorShape& kernel, Depthwise& d) {
    const bool fits = x.dims() == 4 && kernel.dims() == 4 && kernel.dim_size(2) == 1 &&
                      kernel.dim_size(3) == x.dim_size(3) && kernel.dim_size(0) > 0 && kernel.dim_size(1) > 0 &&
                      kernel.dim_size(0) <= 11 && kernel.dim_size(1) <= 11;
    if (!fits) {
      c->CtxFailure(InvalidArgument("a kernel of ", kernel.DebugString(), " does not fit images of ", x.DebugString()));
      return false;
    }
    check_channels(c, x.dim_size(3));
    d = {x.dim_size(0),
         int(x.dim_size(1)),
         int(x.dim_size(2)),
         int(x.dim_size(3)),
         int(kernel.dim_size(0)),
         int(kernel.dim_size(1)),
         strides_[0],
         strides_[1],
         explicit_padding_[0],
         explicit_padding_[2],
         0,
         0};
    set_windows(c, "kernel", x.dim_size(1), explicit_padding_[0], explicit_padding_[1], d.kernel_height,
                d.stride_height, d.out_height);
    set_windows(c, "kernel", x.dim_size(2), explicit_padding_[2], explicit_padding_[3], d.kernel_width, d.stride_width,
                d.out_width);
    return c->status().ok();
  }
  TensorShape outputs(const Depthwise& d) { return TensorShape({d.batch, d.out_height, d.out_width, d.channels}); }
  std::vector<int32_t> strides_, explicit_padding_;
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
    if (!c->status().ok() || d.batch == 0) return;
    kernels_for<T>().depthwise(d, in<T>(c, 0), in<float>(c, 1), c->num_inputs() > 2 ? in<float>(c, 2) : nullptr, y,
                               activation_, parallel_of(c));
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
    if (dx && shape.num_elements())
      kernels_for<T>().depthwise_input_gradient(d, in<T>(c, 0), in<float>(c, 1), dx, parallel_of(c));
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
    auto* d_kernel = out<float>(c, 0, shape);
    if (d_kernel && c->input(0).NumElements() == 0) return clear(d_kernel, shape);
    if (d_kernel) kernels_for<T>().depthwise_filter_gradient(d, in<T>(c, 0), in<T>(c, 1), d_kernel, parallel_of(c));
  }
};

// Rows, groups and channels of a pointwise convolution. The kernel is (1, 1, inputs of a group, outputs).
bool pointwise_of(OpKernelContext* c, const TensorShape& x, const TensorShape& kernel, Pointwise& p) {
  const int64_t channels = channels_of(x);
  check_channels(c, channels, 1);
  if (!c->status().ok()) return false;
  const bool fits = kernel.dims() == 4 && kernel.dim_size(0) == 1 && kernel.dim_size(1) == 1 &&
                    kernel.dim_size(2) > 0 && channels % kernel.dim_size(2) == 0 &&
                    kernel.dim_size(3) % (channels / kernel.dim_size(2)) == 0 && kernel.dim_size(3) > 0;
  if (!fits) {
    c->CtxFailure(InvalidArgument("a kernel of ", kernel.DebugString(), " does not fit images of ", x.DebugString()));
    return false;
  }
  const int64_t groups = channels / kernel.dim_size(2);
  p = {x.num_elements() / channels, int(groups), int(kernel.dim_size(2)), int(kernel.dim_size(3) / groups)};
  return true;
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
    const int64_t outputs = int64_t(p.groups) * p.out_channels_per_group;
    if (biases_) check_vector(c, 2, outputs);
    const TensorShape shape = with_channels(c->input(0).shape(), outputs);
    const bool residual = has_residual(c, 2 + biases_);
    OP_REQUIRES(c, !residual || c->input(2 + biases_).shape() == shape,
                InvalidArgument("the residual's shape is not that of the outputs"));
    auto* y = out<T>(c, 0, shape);
    if (!c->status().ok() || p.rows == 0) return;
    kernels_for<T>().pointwise(p, in<T>(c, 0), in<float>(c, 1), biases_ ? in<float>(c, 2) : nullptr,
                               residual ? in<T>(c, 2 + biases_) : nullptr, y, activation_, parallel_of(c));
  }

 private:
  int biases_;
  Activation activation_;
};

template <class T>
class PointwiseInputGrad : public OpKernel {
 public:
  explicit PointwiseInputGrad(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("groups", &groups_));
  }
  void Compute(OpKernelContext* c) override {  // dy, kernel
    OP_REQUIRES(c, c->input(1).dims() == 4 && groups_ > 0, InvalidArgument("a kernel of four axes, and some groups"));
    const TensorShape shape = with_channels(c->input(0).shape(), c->input(1).dim_size(2) * groups_);
    Pointwise p;
    if (!pointwise_of(c, shape, c->input(1).shape(), p)) return;
    OP_REQUIRES(c, channels_of(c->input(0).shape()) == int64_t(p.groups) * p.out_channels_per_group,
                InvalidArgument("gradients of a wrong shape"));
    auto* dx = out<T>(c, 0, shape);
    if (dx && p.rows) kernels_for<T>().pointwise_input_gradient(p, in<T>(c, 0), in<float>(c, 1), dx, parallel_of(c));
  }

 private:
  int groups_;
};

template <class T>
class PointwiseFilterGrad : public OpKernel {
 public:
  explicit PointwiseFilterGrad(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("groups", &groups_));
  }
  void Compute(OpKernelContext* c) override {  // x, dy
    const TensorShape &x = c->input(0).shape(), &dy = c->input(1).shape();
    const int64_t inputs = channels_of(x), outputs = channels_of(dy);
    OP_REQUIRES(c, groups_ > 0 && inputs % groups_ == 0 && outputs % groups_ == 0 && with_channels(x, outputs) == dy,
                InvalidArgument("inputs of ", x.DebugString(), " and gradients of ", dy.DebugString()));
    const TensorShape shape({1, 1, inputs / groups_, outputs});
    Pointwise p;
    if (!pointwise_of(c, x, shape, p)) return;
    auto* d_kernel = out<float>(c, 0, shape);
    if (d_kernel && p.rows == 0) return clear(d_kernel, shape);
    if (d_kernel) kernels_for<T>().pointwise_filter_gradient(p, in<T>(c, 0), in<T>(c, 1), d_kernel, parallel_of(c));
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

}  // namespace
}  // namespace blocks
