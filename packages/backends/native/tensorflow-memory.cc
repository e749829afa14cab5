// What TensorFlow's allocators hold: bytes in use, and the most there ever were since the peak was last reset.
//
// Allocators are one per process and device, so a second eager context sees what tfjs-node's own context allocates. Built by
// scripts/setup-tfjs-node.mjs against the headers and libraries that tfjs-node's addon is built against.
#include <node_api.h>

#include "tensorflow/c/eager/c_api.h"
#include "tensorflow/c/eager/tfe_context_internal.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/device.h"

namespace {

tensorflow::ImmediateExecutionContext* Context() {
  static TFE_Context* context = [] {
    TF_Status* status = TF_NewStatus();
    TFE_ContextOptions* options = TFE_NewContextOptions();
    TFE_Context* made = TFE_NewContext(options, status);
    TFE_DeleteContextOptions(options);
    TF_DeleteStatus(status);
    return made;
  }();
  return context ? tensorflow::unwrap(context) : nullptr;
}

void Set(napi_env env, napi_value object, const char* name, double value) {
  napi_value number;
  napi_create_double(env, value, &number);
  napi_set_named_property(env, object, name, number);
}

// stats() -> [{ device, bytesInUse, peakBytes, limit }]; devices whose allocator keeps no figures are left out.
napi_value Stats(napi_env env, napi_callback_info) {
  napi_value list;
  napi_create_array(env, &list);
  uint32_t count = 0;
  auto* context = Context();
  if (!context) return list;
  for (tensorflow::Device* device : context->ListLocalTfDevices()) {
    auto stats = device->GetAllocator(tensorflow::AllocatorAttributes())->GetStats();
    if (!stats || (stats->num_allocs == 0 && !stats->bytes_limit)) continue;
    napi_value entry, name;
    napi_create_object(env, &entry);
    napi_create_string_utf8(env, device->name().c_str(), NAPI_AUTO_LENGTH, &name);
    napi_set_named_property(env, entry, "device", name);
    Set(env, entry, "bytesInUse", static_cast<double>(stats->bytes_in_use));
    Set(env, entry, "peakBytes", static_cast<double>(stats->peak_bytes_in_use));
    Set(env, entry, "limit", stats->bytes_limit ? static_cast<double>(*stats->bytes_limit) : 0);
    napi_set_element(env, list, count++, entry);
  }
  return list;
}

// resetPeak(): the peak becomes what is in use now.
napi_value ResetPeak(napi_env, napi_callback_info) {
  if (auto* context = Context())
    for (tensorflow::Device* device : context->ListLocalTfDevices()) device->GetAllocator(tensorflow::AllocatorAttributes())->ClearStats();
  return nullptr;
}

napi_value Init(napi_env env, napi_value exports) {
  napi_property_descriptor properties[] = {
      {"stats", nullptr, Stats, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
      {"resetPeak", nullptr, ResetPeak, nullptr, nullptr, nullptr, napi_enumerable, nullptr},
  };
  napi_define_properties(env, exports, 2, properties);
  return exports;
}

}  // namespace

NAPI_MODULE(tensorflow_memory, Init)
