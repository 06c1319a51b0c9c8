"""Environments of the libraries that ``benchmarks.read`` measures beside ours."""

from tests.support.environments import Environment

__all__ = ["ENVIRONMENTS"]

ENVIRONMENTS = {
    "wids": Environment("read-wids", (
        "webdataset==0.2.111", "pillow==13.0.0", "simplejpeg==1.9.0",
    )),
    "streaming": Environment("read-streaming", (
        "mosaicml-streaming==0.13.0", "Brotli==1.2.1", "catalogue==2.0.10", "cramjam==2.14.0",
        "pillow==13.0.0", "python-snappy==0.7.3", "simplejpeg==1.9.0", "tqdm==4.70.1",
        "xxhash==3.8.2", "zstd==1.5.7.2",
    )),
    "litdata": Environment("read-litdata", (
        "litdata==0.2.76", "boto3==1.44.5", "botocore==1.44.5", "certifi==2026.10.18",
        "charset-normalizer==3.5.2", "idna==3.20", "jmespath==1.1.0",
        "lightning-utilities==0.15.3", "obstore==0.12.1", "packaging==26.3",
        "python-dateutil==2.9.0.post0", "PyYAML==6.0.3", "requests==2.34.2", "s3transfer==0.19.3",
        "simplejpeg==1.9.0", "six==1.17.0", "tifffile==2026.3.3", "tqdm==4.70.1", "urllib3==2.8.0",
    )),
}  # fmt: skip
"""By reader. Of each library's dependencies, those that reading local files imports: streaming asks
for numpy < 2.2, transformers, torchvision and clients of four clouds, litdata for torchvision."""
