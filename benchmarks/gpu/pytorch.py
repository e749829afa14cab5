"""The rate of PyTorch's matmul on the same card as webgpu.ts: float32, float32 through TF32, float16.

    python3 benchmarks/gpu/pytorch.py [size, 4096] > benchmarks/gpu/results/<card>-pytorch.json
"""
import json, sys, time
import torch

size = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
cuda = torch.cuda.is_available()
device = 'cuda' if cuda else 'cpu'


def teraflops(dtype, tf32):
    torch.backends.cuda.matmul.allow_tf32 = tf32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    products, best = 4, float('inf')
    for i in range(6):
        start = time.perf_counter()
        for _ in range(products):
            a @ b
        if cuda:
            torch.cuda.synchronize()
        if i > 0:
            best = min(best, time.perf_counter() - start)
    return round(2 * size**3 * products / best / 1e12, 3)


print(json.dumps({
    'card': torch.cuda.get_device_name() if cuda else 'cpu',
    'torch': torch.__version__,
    'size': size,
    'teraflops': {'f32': teraflops(torch.float32, False), 'tf32': teraflops(torch.float32, True) if cuda else None, 'f16': teraflops(torch.float16, False)},
}, indent=2))
