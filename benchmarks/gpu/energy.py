"""Energy of a training step of a transformer block on an NVIDIA card: PyTorch in float32 against automatic mixed precision.

    python3 benchmarks/gpu/energy.py [--repeats 8] [--seconds 2] [--batch 8] > benchmarks/gpu/results/<card>-energy-pytorch.json
    npx tsx --conditions=@leantune/source benchmarks/gpu/energy-report.ts benchmarks/gpu/results/<card>-energy-pytorch.json

Every run repeats the step for --seconds and is between two readings of the card's energy counter, nvmlDeviceGetTotalEnergyConsumption.
Runs come in blocks of both precisions in a random, seeded order; the first block is dropped. Idle power is measured, with the context
alive, before and after. The same block and protocol as energy.ts. Needs torch with CUDA; NVML is called by ctypes. Under a minute.
"""
import argparse
import ctypes
import json
import random
import sys
import time

import torch
from torch import nn

TOKENS, WIDTH, HEADS, HIDDEN = 256, 1024, 16, 4096


class Nvml:
    """The energy counter of one card."""

    def __init__(self, index):
        self.library = ctypes.CDLL("libnvidia-ml.so.1")
        self.library.nvmlErrorString.restype = ctypes.c_char_p
        self.call("nvmlInit_v2")
        self.device = ctypes.c_void_p()
        self.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(self.device))

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code != 0:
            sys.exit(f"[energy] {name}: {self.library.nvmlErrorString(code).decode()}")

    def joules(self):
        millijoules = ctypes.c_ulonglong()
        self.call("nvmlDeviceGetTotalEnergyConsumption", self.device, ctypes.byref(millijoules))
        return millijoules.value / 1000


class Block(nn.Module):
    """Pre-norm attention and perceptron, as in energy.ts."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x):
        split = lambda t: t.unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2)
        q, k, v = (split(part) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        scores = (q @ k.transpose(-1, -2)) * (WIDTH // HEADS) ** -0.5
        mixed = scores.softmax(dim=-1) @ v
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x)), approximate="tanh"))


def trainer(precision, batch):
    """A step of its own block from the same first weights; TF32 is off, so that float32 is float32."""
    torch.manual_seed(1)
    block = Block().cuda()
    x, y = torch.randn(batch, TOKENS, WIDTH, device="cuda"), torch.randn(batch, TOKENS, WIDTH, device="cuda")
    optimizer = torch.optim.SGD(block.parameters(), lr=1e-3)
    mixed = precision == "mixed_float16"
    scaler = torch.amp.GradScaler("cuda", enabled=mixed)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.float16, enabled=mixed):
            loss = nn.functional.mse_loss(block(x).float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return step


def run(step, seconds, counter):
    """Repeats the step; every ten steps the device is waited for, so that no queue builds up."""
    torch.cuda.synchronize()
    joules, start, steps = counter.joules(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            loss = step()
        torch.cuda.synchronize()
        steps += 10
    return {"seconds": time.perf_counter() - start, "gross": counter.joules() - joules, "steps": steps, "loss": loss.item()}


def idle_watts(counter, seconds):
    torch.cuda.synchronize()
    joules, start = counter.joules(), time.perf_counter()
    time.sleep(seconds)
    return (counter.joules() - joules) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--idle", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gpu", type=int, default=0, help="index of NVML, which CUDA_VISIBLE_DEVICES does not change")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("[energy] no CUDA device; this measures NVIDIA cards.")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    counter, order = Nvml(options.gpu), random.Random(options.seed)
    steps = {precision: trainer(precision, options.batch) for precision in ("float32", "mixed_float16")}
    runs, before = [], None
    for block in range(-1, options.repeats):
        if block == 0:
            before = idle_watts(counter, options.idle)
        for precision in order.sample(list(steps), len(steps)):
            result = run(steps[precision], options.seconds, counter)
            if block >= 0:
                runs.append({"configuration": precision, "repeat": block, "samples": result["steps"] * options.batch, **result})
    after = idle_watts(counter, options.idle)
    json.dump({
        "what": f"training step of a transformer block, batch {options.batch}, {TOKENS} tokens of {WIDTH}, PyTorch {torch.__version__}",
        "card": torch.cuda.get_device_name(), "meter": "NVML energy counter", "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "idle": {"before": before, "after": after, "watts": (before + after) / 2}, "runs": runs,
    }, sys.stdout, indent=1)
    print()


main()
