// The operations of elementwise.cc: what they check, allocate and call.
#include "op_kernel_utils.h"

namespace blocks {
namespace {

template <class T>
class ActivationOp : public OpKernel {
 public:
  explicit ActivationOp(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {}
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(0);
    auto* y = out<T>(c, 0, x.shape());
    if (c->status().ok() && x.NumElements())
      kernels_for<T>().activation(in<T>(c, 0), y, x.NumElements(), activation_, parallel_of(c));
  }

 private:
  Activation activation_;
};

template <class T>
class ActivationGrad : public OpKernel {
 public:
  explicit ActivationGrad(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {}
  void Compute(OpKernelContext* c) override {  // dy, x
    const Tensor& x = c->input(1);
    OP_REQUIRES(c, c->input(0).shape() == x.shape(), InvalidArgument("gradients and inputs differ in shape"));
    auto* dx = out<T>(c, 0, x.shape());
    if (c->status().ok() && x.NumElements())
      kernels_for<T>().activation_gradient(in<T>(c, 0), in<T>(c, 1), dx, x.NumElements(), activation_, parallel_of(c));
  }

 private:
  Activation activation_;
};

template <class T>
class BiasGrad : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const Tensor& dy = c->input(0);
    OP_REQUIRES(c, dy.dims() > 0, InvalidArgument("the gradients have no axis"));
    const int64_t channels = channels_of(dy.shape());
    const TensorShape vector({channels});
    float* d_bias = out<float>(c, 0, vector);
    if (!c->status().ok()) return;
    if (dy.NumElements() == 0) return clear(d_bias, vector);
    kernels_for<T>().bias_gradient(in<T>(c, 0), dy.NumElements() / channels, int(channels), d_bias, parallel_of(c));
  }
};

BLOCKS_KERNEL("BlocksActivation", ActivationOp)
BLOCKS_KERNEL("BlocksActivationGrad", ActivationGrad)
BLOCKS_KERNEL("BlocksBiasGrad", BiasGrad)

}  // namespace
}  // namespace blocks
