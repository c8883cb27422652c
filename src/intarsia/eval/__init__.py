"""How far one model's pictures are from another's."""

from .drift import psnr as psnr
