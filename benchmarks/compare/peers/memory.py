"""What a training step of PyTorch holds, by the same definition as the tracker of @leantune/core: bytes above what was there before.

kept: all distinct storages that autograd saves (saved_tensors_hooks), without those of parameters, buffers and the batch.
peak: the most that the allocator had handed out at one time (torch.profiler) in forward, backward and update.
"""

import time

import torch


def kept_bytes(step, own):
    """`own`: tensors that are there anyway."""
    known = {t.untyped_storage().data_ptr() for t in own}
    saved = {}

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        step()
    return sum(saved.values())


def peak_bytes(step):
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        step()
    now = peak = 0
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def milliseconds(step, steps):
    """Lower quartiles: of the processor's time, and of the time that passed."""
    times = []
    for i in range(-1, steps):
        start = time.process_time(), time.perf_counter()
        step()
        if i >= 0:
            times.append([1e3 * (time.process_time() - start[0]), 1e3 * (time.perf_counter() - start[1])])
    processor, passed = torch.tensor(times, dtype=torch.float64).quantile(0.25, dim=0).tolist()
    return {"processorMilliseconds": round(processor, 1), "milliseconds": round(passed, 1)}
