// The operations of spatial.cc, spatial_gradient.cc and dense.cc: what they check, allocate and call.
#include "op_kernel_utils.h"

namespace blocks {
namespace {

// What they have in common: attributes, and the geometry they give with shapes.
class SpatialOp : public OpKernel {
 public:
  explicit SpatialOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("strides", &strides_));
    OP_REQUIRES_OK(c, c->GetAttr("explicit_padding", &explicit_padding_));
    OP_REQUIRES(c, strides_.size() == 2 && explicit_padding_.size() == 4 && strides_[0] > 0 && strides_[1] > 0,
                InvalidArgument("strides are (height, width) and explicit_padding (top, bottom, left, right)"));
    for (int amount : explicit_padding_)
      OP_REQUIRES(c, amount >= 0, InvalidArgument("explicit_padding is not negative, got ", amount));
  }

 protected:
  // The kernel is (height, width, inputs of a group, outputs).
  bool geometry(OpKernelContext* c, const TensorShape& x, const TensorShape& kernel, Spatial& s) {
    if (x.dims() == 4) check_channels(c, x.dim_size(3), 1);
    if (!c->status().ok()) return false;
    const bool fits = x.dims() == 4 && kernel.dims() == 4 && kernel.dim_size(2) > 0 &&
                      x.dim_size(3) % kernel.dim_size(2) == 0 && kernel.dim_size(3) > 0 &&
                      kernel.dim_size(3) % (x.dim_size(3) / kernel.dim_size(2)) == 0 && kernel.dim_size(0) > 0 &&
                      kernel.dim_size(1) > 0 && kernel.dim_size(0) <= 11 && kernel.dim_size(1) <= 11;
    if (!fits) {
      c->CtxFailure(InvalidArgument("a kernel of ", kernel.DebugString(), " does not fit images of ", x.DebugString()));
      return false;
    }
    const int groups = int(x.dim_size(3) / kernel.dim_size(2));
    s = {x.dim_size(0),
         int(x.dim_size(1)),
         int(x.dim_size(2)),
         groups,
         int(kernel.dim_size(2)),
         int(kernel.dim_size(3)) / groups,
         int(kernel.dim_size(0)),
         int(kernel.dim_size(1)),
         strides_[0],
         strides_[1],
         explicit_padding_[0],
         explicit_padding_[2],
         0,
         0};
    set_windows(c, "kernel", x.dim_size(1), explicit_padding_[0], explicit_padding_[1], s.kernel_height,
                s.stride_height, s.out_height);
    set_windows(c, "kernel", x.dim_size(2), explicit_padding_[2], explicit_padding_[3], s.kernel_width, s.stride_width,
                s.out_width);
    return c->status().ok();
  }
  TensorShape outputs(const Spatial& s) {
    return TensorShape({s.batch, s.out_height, s.out_width, int64_t(s.groups) * s.out_channels_per_group});
  }
  std::vector<int32_t> strides_, explicit_padding_;
};

template <class T>
class SpatialForward : public SpatialOp {
 public:
  explicit SpatialForward(OpKernelConstruction* c) : SpatialOp(c), activation_(activation_of(c)) {
    OP_REQUIRES_OK(c, c->GetAttr("biases", &biases_));
  }
  void Compute(OpKernelContext* c) override {  // x, kernel, no or one bias, no or one residual
    Spatial s;
    if (!geometry(c, c->input(0).shape(), c->input(1).shape(), s)) return;
    if (biases_) check_vector(c, 2, int64_t(s.groups) * s.out_channels_per_group);
    const bool residual = has_residual(c, 2 + biases_);
    OP_REQUIRES(c, !residual || c->input(2 + biases_).shape() == outputs(s),
                InvalidArgument("the residual's shape is not that of the outputs"));
    auto* y = out<T>(c, 0, outputs(s));
    if (!c->status().ok() || s.batch == 0) return;
    const auto run = s.groups == 1 ? kernels_for<T>().dense : kernels_for<T>().spatial;
    run(s, in<T>(c, 0), in<float>(c, 1), biases_ ? in<float>(c, 2) : nullptr,
        residual ? in<T>(c, 2 + biases_) : nullptr, y, activation_, parallel_of(c));
  }

 private:
  int biases_;
  Activation activation_;
};

template <class T>
class SpatialInputGrad : public SpatialOp {
 public:
  using SpatialOp::SpatialOp;
  void Compute(OpKernelContext* c) override {  // dy, kernel, shape of x
    TensorShape shape;
    if (!shape_input(c, shape)) return;
    Spatial s;
    if (!geometry(c, shape, c->input(1).shape(), s)) return;
    OP_REQUIRES(c, c->input(0).shape() == outputs(s), InvalidArgument("gradients of a wrong shape"));
    auto* dx = out<T>(c, 0, shape);
    const auto run = s.groups == 1 ? kernels_for<T>().dense_input_gradient : kernels_for<T>().spatial_input_gradient;
    if (dx && s.batch && s.height && s.width) run(s, in<T>(c, 0), in<float>(c, 1), dx, parallel_of(c));
  }
};

template <class T>
class SpatialFilterGrad : public SpatialOp {
 public:
  using SpatialOp::SpatialOp;
  void Compute(OpKernelContext* c) override {  // x, dy, shape of the kernel
    TensorShape shape;
    if (!shape_input(c, shape)) return;
    Spatial s;
    if (!geometry(c, c->input(0).shape(), shape, s)) return;
    OP_REQUIRES(c, c->input(1).shape() == outputs(s), InvalidArgument("gradients of a wrong shape"));
    auto* d_kernel = out<float>(c, 0, shape);
    const auto run = s.groups == 1 ? kernels_for<T>().dense_filter_gradient : kernels_for<T>().spatial_filter_gradient;
    if (d_kernel && c->input(0).NumElements() == 0) return clear(d_kernel, shape);
    if (d_kernel) run(s, in<T>(c, 0), in<T>(c, 1), d_kernel, parallel_of(c));
  }
};

BLOCKS_KERNEL("BlocksSpatial", SpatialForward)
BLOCKS_KERNEL("BlocksSpatialInputGrad", SpatialInputGrad)
BLOCKS_KERNEL("BlocksSpatialFilterGrad", SpatialFilterGrad)

}  // namespace
}  // namespace blocks
