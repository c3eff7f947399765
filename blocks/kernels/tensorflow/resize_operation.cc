// The operation of resize.cc: one image in the calling thread, for those who prepare many side by side.
#include "op_kernel_utils.h"

namespace blocks {
namespace {

// A line of `before` pixels, and an input with those of the line that it is resized to: all, the first that is kept,
// and how many are.
bool line(OpKernelContext* c, int input, int64_t before, Resampling* r) {
  const Tensor& given = c->input(input);
  if (given.NumElements() != 3) {
    c->CtxFailure(InvalidArgument("a line is (after, first, count), got ", given.NumElements(), " numbers"));
    return false;
  }
  const auto* numbers = static_cast<const int32_t*>(given.data());
  *r = {int(before), numbers[0], numbers[1], numbers[2]};
  const bool is_within = r->first >= 0 && r->count > 0 && int64_t(r->first) + r->count <= r->after;
  if (before <= 0 || before > INT32_MAX || !is_within)
    c->CtxFailure(InvalidArgument("of a line of ", before, " pixels, resized to ", r->after, ", ", r->count,
                                  " cannot be kept from ", r->first, " on"));
  return c->status().ok();
}

class Resize : public OpKernel {
 public:
  explicit Resize(OpKernelConstruction* c) : OpKernel(c) {
    std::string name;
    OP_REQUIRES_OK(c, c->GetAttr("filter", &name));
    filter_ = name == "bicubic" ? Filter::kBicubic : Filter::kBilinear;
  }
  void Compute(OpKernelContext* c) override {  // image, rows, columns
    const Tensor& image = c->input(0);
    OP_REQUIRES(c, image.dims() == 3, InvalidArgument("an image is (H, W, C)"));
    Resampling rows, columns;
    check_channels(c, image.dim_size(2), 1);
    if (!c->status().ok() || !line(c, 1, image.dim_size(0), &rows) || !line(c, 2, image.dim_size(1), &columns)) return;
    Tensor* resized = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(0, TensorShape({rows.count, columns.count, image.dim_size(2)}), &resized));
    kernels().resize(static_cast<const uint8_t*>(image.data()), int(image.dim_size(2)), rows, columns, filter_,
                     static_cast<uint8_t*>(resized->data()));
  }

 private:
  Filter filter_;
};

REGISTER_KERNEL_BUILDER(Name("BlocksResize").Device(tensorflow::DEVICE_CPU), Resize);

}  // namespace
}  // namespace blocks
