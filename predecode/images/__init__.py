"""Operations on pictures between decoder and codec."""
