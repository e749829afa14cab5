"""PyTorch on the same card as webgpu.ts: the rate of its products, and training steps of the same transformer block and MobileNetV2.

    python3 benchmarks/gpu/pytorch.py <out.json> [size, 4096] [--small]

float32, float32 through TF32, float16 and bfloat16; steps are of Adam, in float32, TF32, and automatic mixed precision (float16 with
GradScaler, bfloat16). The models are those of benchmarks/pytorch/train_step.py. `blocks` are the transformer blocks of mixed-precision.ts
with --tokens 256 --batch 32, by width, with SGD. Each part is in the file when it is done.
"""
import importlib.util
import json
import pathlib
import sys
import time

import torch
from torch import nn

arguments = [a for a in sys.argv[1:] if not a.startswith('--')]
small = '--small' in sys.argv
path = pathlib.Path(arguments[0]) if arguments else pathlib.Path('pytorch.json')
size = int(arguments[1]) if len(arguments) > 1 else 4096
cuda = torch.cuda.is_available()
device = 'cuda' if cuda else 'cpu'
here = pathlib.Path(__file__).parent


def synchronize():
    if cuda:
        torch.cuda.synchronize()


def use_tf32(yes):
    torch.backends.cuda.matmul.allow_tf32 = yes
    torch.backends.cudnn.allow_tf32 = yes


def teraflops(dtype, tf32=False):
    use_tf32(tf32)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    products, best = 4, float('inf')
    for i in range(6):
        synchronize()
        start = time.perf_counter()
        for _ in range(products):
            a @ b
        synchronize()
        if i > 0:
            best = min(best, time.perf_counter() - start)
    return round(2 * size**3 * products / best / 1e12, 3)


def models():
    places = [here / 'train_step.py', here / '../pytorch/train_step.py']
    spec = importlib.util.spec_from_file_location('train_step', next(p for p in places if p.exists()))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def milliseconds(spec, batch, dtype, tf32=False, optimizer=torch.optim.Adam):
    """The least of twelve steps after three; `dtype` is that of autocast, None without."""
    use_tf32(tf32)
    torch.manual_seed(17)
    model, x = models().subject(spec, batch)
    model, x = model.to(device), x.to(device)
    y = torch.randint(spec['classes'], (batch,), device=device)
    optimizer = optimizer(model.parameters(), lr=1e-4)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    best = float('inf')
    for i in range(15):
        synchronize()
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device, dtype=dtype or torch.float16, enabled=dtype is not None):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        synchronize()
        if i >= 3:
            best = min(best, time.perf_counter() - start)
    return round(1e3 * best, 3)


block = dict(name='encoder', layers=1, width=768, heads=12, inner=3072, vocabulary=2000, tokens=256, classes=6)
mobilenet = dict(name='mobilenet-v2', size=224, width=1, classes=10)
if small:
    block.update(width=64, heads=4, inner=256, tokens=32)
    mobilenet.update(size=32)
kinds = {
    'f32': (None, False),
    **({'tf32': (None, True)} if cuda else {}),
    'amp float16': (torch.float16, False),
    'amp bfloat16': (torch.bfloat16, False),
}
report = {'card': torch.cuda.get_device_name() if cuda else 'cpu', 'torch': torch.__version__, 'size': size, 'teraflops': {}, 'transformer': {}, 'mobilenet': {}, 'blocks': {}}


def note(part, name, f):
    try:
        report[part][name] = f()
    except Exception as error:  # the other parts count all the same
        report[part][name] = f'failed: {error}'[:300]
    path.write_text(json.dumps(report, indent=2) + '\n')


for name, dtype, tf32 in [('f32', torch.float32, False), ('tf32', torch.float32, True), ('f16', torch.float16, False), ('bf16', torch.bfloat16, False)]:
    if cuda or name != 'tf32':
        note('teraflops', name, lambda: teraflops(dtype, tf32))
for name, (dtype, tf32) in kinds.items():
    note('transformer', name, lambda: milliseconds(block, 2 if small else 16, dtype, tf32))
for name, (dtype, tf32) in kinds.items():
    note('mobilenet', name, lambda: milliseconds(mobilenet, 2 if small else 32, dtype, tf32))
for width in (64,) if small else (768, 1024, 2048):
    spec = dict(name='encoder', layers=1, width=width, heads=width // 64, inner=4 * width, vocabulary=1000, tokens=256, classes=2)
    for name in ('f32', 'amp float16'):
        dtype, _ = kinds[name]
        note('blocks', f'{width} {name}', lambda: milliseconds(spec, 2 if small else 32, dtype, optimizer=torch.optim.SGD))
