"""Distances between sets of pictures, in the judge's features."""

import numpy as np


def frechet(some: np.ndarray, others: np.ndarray, width: int = 256) -> float:
    """Fréchet distance of two feature sets (count, features), in the first principal directions of the second.

    2,000 samples cannot fill a covariance of 1,280 dimensions, so the features are first projected onto the
    `width` directions in which the real pictures (`others`) vary most.
    """
    centre = others.mean(0)
    _, _, directions = np.linalg.svd(others - centre, full_matrices=False)
    a, b = ((features - centre) @ directions[:width].T for features in (some, others))
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values = np.linalg.eigvals(first @ second)  # real and positive but for rounding
    root_trace = np.sqrt(np.clip(values.real, 0, None)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * root_trace)


def kernel(some: np.ndarray, others: np.ndarray) -> float:
    """Kernel distance: the unbiased squared maximum mean discrepancy under (x.y / d + 1)^3."""
    width = some.shape[1]
    aa, bb, ab = ((x @ y.T / width + 1) ** 3 for x, y in ((some, some), (others, others), (some, others)))
    n, m = len(some), len(others)
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * ab.mean())


def nearest(some: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each picture of some, the row of the nearest of others and the PSNR to it, over pixels."""
    a = some.reshape(len(some), -1).astype(np.float32)
    b = others.reshape(len(others), -1).astype(np.float32)
    squares = np.square(b).sum(1)
    rows = np.concatenate([(squares - 2 * part @ b.T).argmin(1) for part in np.array_split(a, max(1, len(a) // 256))])
    errors = np.square(a - b[rows]).mean(1)
    return rows, 10 * np.log10(255**2 / np.maximum(errors, 1e-6))
