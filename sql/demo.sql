-- A small catalogue, only for an inventory that is empty.
INSERT INTO productos (nombre, descripcion, precio, stock)
SELECT * FROM (VALUES
    ('Laptop Dell XPS 13', 'Pantalla de 13", 16 GB de memoria, 512 GB de disco', 1299.99, 10),
    ('Teclado mecánico', 'Distribución española, interruptores táctiles', 89.90, 24),
    ('Mouse inalámbrico', 'Seis botones, recargable', 34.50, 40),
    ('Monitor 27" 4K', 'Altura regulable, USB-C', 379.00, 7),
    ('Auriculares con micrófono', 'Cancelación de ruido', 119.00, 15),
    ('Cámara web 1080p', 'Con tapa de privacidad', 59.95, 18),
    ('Silla de oficina', 'Respaldo de malla, apoyo lumbar', 189.00, 5),
    ('Lámpara de escritorio', NULL, 27.80, 31),
    ('Cable HDMI 2 m', NULL, 8.99, 120),
    ('Disco SSD 1 TB', 'NVMe, 7.000 MB/s', 94.00, 22),
    ('Impresora láser', 'Blanco y negro, doble cara', 159.00, 0),
    ('Mochila para portátil', 'Hasta 15", impermeable', 49.90, 12)
) AS demo (nombre, descripcion, precio, stock)
WHERE NOT EXISTS (SELECT FROM productos);
