from ...encoders.conftest import clip_folder, siglip_folder, tiny_open_clip

__all__ = ["clip_folder", "siglip_folder", "tiny_open_clip"]
